"""Pages as an upstream would write them, for the tests of the readers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from hypothesis import strategies as st

from pypimirror.domain.filenames import MAX_BYTES, check_filename
from pypimirror.domain.model import ALGORITHMS, File, Problem, ProjectPage

URL = "https://index.example.org/simple/six/"
SHA = "0123456789abcdef" * 4
OTHER_SHA = "fedcba9876543210" * 4
WHEEL = "six-1.16.0-py2.py3-none-any.whl"
SDIST = "six-1.16.0.tar.gz"


def entry(filename: str = SDIST, **keys: Any) -> dict[str, Any]:
    """One file of a JSON page; keyword "requires_python" is the key "requires-python"."""
    given = _spelled(keys)
    return {
        "filename": filename,
        "url": f"https://files.example.org/{quote(filename)}",
        "hashes": {"sha256": SHA},
        **given,
    }


def page(*files: Any, **keys: Any) -> dict[str, Any]:
    """A JSON page before it is bytes."""
    given = _spelled(keys)
    return {"meta": {"api-version": "1.4"}, "name": "six", "files": list(files), **given}


def _spelled(keys: dict[str, Any]) -> dict[str, Any]:
    return {key[0] + key[1:].replace("_", "-"): value for key, value in keys.items()}


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def anchor(href: str, text: str = "", **attributes: str) -> str:
    """A link of an HTML page; keyword "data_yanked" is the attribute "data-yanked"."""
    rest = "".join(f' {k.replace("_", "-")}="{escape(v)}"' for k, v in attributes.items())
    return f'<a href="{escape(href)}"{rest}>{escape(text)}</a><br>'


def document(*body: str, head: str = "<title>Links for six</title>") -> bytes:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(body)}</body></html>".encode()


def as_html(page: ProjectPage) -> bytes:
    """What HTML can say of a page."""
    links = []
    for file in page.files:
        fragment = "&".join(f"{name}={digest}" for name, digest in file.digests.items())
        attributes = {}
        if file.requires_python is not None:
            attributes["data_requires_python"] = file.requires_python
        if file.yanked is not None:
            attributes["data_yanked"] = file.yanked
        if file.core_metadata is not None:
            digests = [f"{name}={digest}" for name, digest in file.core_metadata.items()]
            attributes["data_core_metadata"] = digests[0] if digests else "true"
        links.append(anchor(f"{file.url}#{fragment}", file.filename, **attributes))
    return document(*links, head='<meta name="pypi:repository-version" content="1.4">')


def as_json(page: ProjectPage) -> bytes:
    files = []
    for file in page.files:
        stated: dict[str, Any] = {
            "filename": file.filename,
            "url": file.url,
            "hashes": file.digests,
            "requires-python": file.requires_python,
            "yanked": file.yanked or file.yanked is not None,
            "core-metadata": False if file.core_metadata is None else file.core_metadata or True,
        }
        files.append(stated)
    return encode({"meta": {"api-version": "1.4"}, "name": page.name, "files": files})


def hex_of(algorithm: str) -> st.SearchStrategy[str]:
    size = ALGORITHMS[algorithm]
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


DIGESTS = st.fixed_dictionaries(
    {}, optional={name: hex_of(name) for name in ("sha256", "md5", "blake2b_256", "sha512")}
)
FILENAMES = st.builds(
    "six-{}{}".format,
    st.one_of(
        st.from_regex(r"[0-9]\.[0-9]{1,3}", fullmatch=True),
        st.from_regex(r"[0-9a-z+_.!~ &%é#?;\"'<-]{0,12}[0-9a-zé]", fullmatch=True),
    ),
    st.sampled_from([".tar.gz", ".zip", "-py3-none-any.whl", ".win32.exe"]),
).filter(lambda name: check_filename(name, "six") is None)
TEXT = st.text(alphabet=st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]))
FILES = st.builds(
    lambda name, **rest: File(name, f"https://files.example.org/a/{quote(name, safe='')}", **rest),
    FILENAMES,
    digests=DIGESTS,
    requires_python=st.none() | st.sampled_from([">=3.8", "<4,>=2.7", '!="3"&gt;', "&copy=1"]),
    yanked=st.none() | TEXT,
    core_metadata=st.none() | st.just({}) | hex_of("sha256").map(lambda d: {"sha256": d}),
)
PAGES = st.lists(FILES, max_size=6, unique_by=lambda file: file.filename.lower()).map(
    lambda files: ProjectPage("six", "six", (1, 4), files=tuple(files))
)


def assert_invariants(page: ProjectPage) -> None:
    """What `pypimirror.domain.model` promises of everything behind the edge."""
    names = [file.filename for file in page.files]
    assert len({name.lower() for name in names}) == len(names)
    for file in page.files:
        assert check_filename(file.filename, page.project) is None
        assert len(file.filename.encode()) <= MAX_BYTES
        assert_digests(file.digests)
        assert_digests(file.core_metadata or {})
        for url in (file.url, file.provenance):
            if url is not None:
                assert urlsplit(url).scheme in ("http", "https")
                assert urlsplit(url).hostname
                assert "@" not in urlsplit(url).netloc
                assert url.isascii() and url.isprintable() and "#" not in url and " " not in url
        assert file.size is None or 0 <= file.size < 2**63
    for problem in page.problems:
        assert problem.message.isprintable() and problem.project == page.project
        assert problem.file.isprintable() and problem.url.isprintable()
    written = msgspec.json.encode(page)
    assert msgspec.json.decode(written, type=ProjectPage) == page
    assert b"\\u0000" not in written


def assert_digests(digests: dict[str, str]) -> None:
    for algorithm, digest in digests.items():
        assert digest == digest.lower()
        assert len(bytes.fromhex(digest)) == ALGORITHMS[algorithm]


def reasons(problems: Iterable[Problem]) -> list[str]:
    return [problem.reason.value for problem in problems]
