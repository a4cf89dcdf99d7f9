"""Detect pages for people that a server sends instead of an index, with status 200. No I/O.

A sign-in page, an error page or a web application must not count as an empty project, because that
would remove the project. Its links must not count as a list either, or the mirror would have
projects such as "help".

This check is only for HTML pages without the tag `pypi:repository-version`, and only if they lack
what an index has: a project page without links to files, a list without links to anything below it.
Real indexes may have search forms, scripts and even password fields beside such links (file
managers that list a directory).
"""

from __future__ import annotations

import re

from pypimirror.domain.filenames import printable
from pypimirror.upstream.markup import Tag, element_text

_SIGN_IN = re.compile(r"\b(?:log|sign)[ -]?(?:in|on)\b|\bsso\b|\bauthenticat", re.I)
_ERROR = re.compile(
    r"\b[45][0-9][0-9]\b|error|not found|forbidden|denied|unavailable|bad gateway|time-?out"
    r"|just a moment|maintenance",
    re.I,
)
_LOGIN = (
    "give `username` and `password`, or `token`, of the [[upstream]], or put them into a netrc file"
)


class Signs:
    """What the tags of a page show about its purpose."""

    def __init__(self, text: str) -> None:
        self.title = ""
        self._text = text
        self._has_form = False
        self._asks_password = False
        self._has_script = False
        self._has_link = False

    def read(self, tag: Tag) -> None:
        """Read one tag."""
        match tag.name:
            case "title":
                self.title = self.title or element_text(self._text, tag)
            case "form":
                self._has_form = True
            case "script":  # an application's is a file of its own
                self._has_script = self._has_script or "src" in tag.attributes
            case "input":
                kind = tag.attributes.get("type", "").strip().lower()
                self._asks_password = self._asks_password or kind == "password"
            case "a":
                self._has_link = self._has_link or "href" in tag.attributes

    def fault(self, project: str = "") -> str:
        """Return why the page is for people, without a full stop; "" if nothing shows that.

        The name of the project in the title does not count ("Links for login").
        """
        called = f"with the title {printable(self.title, 60)!r}"
        spelled = project.replace("-", "[-_.]+")
        title = re.sub(spelled, "", self.title, flags=re.I) if project else self.title
        if self._asks_password or _SIGN_IN.search(title):
            return f"it is no index, but a sign-in page, {called}; {_LOGIN}"
        if self._has_form or _ERROR.search(title):
            asks = "if it asks to sign in, " if self._has_form else ""
            step = f"{asks}{_LOGIN}" if self._has_form else "check `url` of the [[upstream]]"
            return f"it is no index, but a page for people, {called}; {step}"
        if self._has_script and not self._has_link:
            return (
                f"it is no index, but a page of scripts for a browser, {called}; check `url` of "
                "the [[upstream]], which usually ends in /simple/"
            )
        return ""
