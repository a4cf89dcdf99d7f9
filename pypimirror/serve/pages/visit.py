"""A request for a page, and its answer, as the modules that make pages use them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qs

from pypimirror.serve.pages.messages import PageRequest, PageResponse

HTML = "text/html; charset=utf-8"
JSON = "application/json"
RSS = "application/rss+xml; charset=utf-8"


@dataclass(frozen=True)
class Made:
    """An answer with its body."""

    head: PageResponse
    body: bytes = b""


@dataclass(frozen=True)
class Visit:
    """A request. `status` is `[serve] status`."""

    asked: PageRequest
    status: str

    @property
    def path(self) -> str:
        """The path; it begins with a slash."""
        return self.asked.path

    @cached_property
    def parts(self) -> list[str]:
        """The segments of the path; the last one is "" if it ends with a slash."""
        return self.path.split("/")[1:]

    @property
    def root(self) -> str:
        """The address of the mirror as the client sees it; ends in a slash."""
        return self.asked.root

    @property
    def up(self) -> str:
        """The relative address of the mirror's root, so that links work behind any prefix."""
        return "../" * (len(self.parts) - 1) or "./"

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The arguments of the query; of several with one name, the last."""
        found = parse_qs(self.asked.query, errors="replace", max_num_fields=20)
        return {name: values[-1] for name, values in found.items()}

    @property
    def sees_status(self) -> bool:
        """Whether this client may see the status."""
        return self.status == "public" or (self.status == "local" and self.asked.is_local)

    @property
    def sees_details(self) -> bool:
        """Whether pages may name paths and machines to this client."""
        return self.status == "local" and self.asked.is_local


def document(body: bytes, content_type: str = JSON, status: int = 200) -> Made:
    """Return an answer that is no page."""
    return Made(PageResponse(status, content_type), body)


def redirect(location: str) -> Made:
    """Send the client to a relative address."""
    return Made(PageResponse(301, "text/plain; charset=utf-8", location=location))
