"""Pages for people that a server gives where an index is asked for, with status 200. Pure.

A sign-in page, an error page, an application that draws itself in a browser: whoever takes one for
an empty project takes the project away, and whoever takes its links for a list mirrors "help".

Only pages in HTML that do not say by a tag `pypi:repository-version` that they are an index are
held against this, and only where they have nothing that an index has: a project page no link to a
file, a list no link to what is below it. Real indexes have forms to search, scripts and even fields
for a password beside such links (file managers that list a directory).
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
    """What the tags of a page say of whom it is for."""

    def __init__(self, text: str) -> None:
        self.title = ""
        self._text = text
        self._has_form = False
        self._asks_password = False
        self._has_script = False
        self._has_link = False

    def read(self, tag: Tag) -> None:
        """Take one tag."""
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
        """Return what shows the page to be for people, "" where nothing does. Ends without stop.

        The name of the project whose page it is to be says nothing ("Links for login").
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
                "the [[upstream]], which mostly ends in /simple/"
            )
        return ""
