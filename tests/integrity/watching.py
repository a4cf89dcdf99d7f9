"""A reader who looks at a mirror all the time: no page may ever link to a bad file."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urldefrag

from tests.checker import Links


class Watcher:
    """Reads every page in both forms, and every file that it links to, as a client would.

    A file is bad where its bytes are not what the page says, and the page still says so
    afterwards. Shares no code with the program.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wrong: list[str] = []
        self.seen: set[tuple[str, str]] = set()  #: name and sha256 of what was served
        self.looks = 0

    def look(self) -> None:
        """Read everything once."""
        self.looks += 1
        for page in sorted(self.root.glob("simple/*/index.*")):
            text = read(page)
            for href, name, sha256, metadata in links(page, text) if text else ():
                path = page.parent / unquote(href)
                beside = path.with_name(path.name + ".metadata")
                found = {path: sha256} | ({beside: metadata} if metadata else {})
                for file, claimed in found.items():
                    content = read(file)
                    seen = "nothing" if content is None else hashlib.sha256(content).hexdigest()
                    if seen == claimed:
                        self.seen.add((name, sha256))
                    elif read(page) == text:
                        self.wrong.append(f"{page}: {file.name} is {seen}, not {claimed}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look without a pause within the block, and once more at its end."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.001):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.look()


def read(path: Path) -> bytes | None:
    """The content of a file, None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def links(page: Path, content: bytes) -> Iterator[tuple[str, str, str, str | None]]:
    """Address, name, sha256, and sha256 of the core metadata, of each file of a page."""
    text = content.decode()
    if page.suffix == ".v1_json":
        for file in json.loads(text)["files"]:
            claim = file.get("core-metadata")
            yield file["url"], file["filename"], file["hashes"]["sha256"], claim and claim["sha256"]
        return
    for attributes, name in Links(text).links:
        href, fragment = urldefrag(attributes["href"] or "")
        claim = attributes.get("data-core-metadata")
        yield href, name, fragment.removeprefix("sha256="), claim and claim.removeprefix("sha256=")
