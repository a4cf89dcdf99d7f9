"""The sections of `pypimirror.toml`: which keys there are, what they mean, what they may say.

`docs/configuration.md` is generated from these models. How they are read is
`pypimirror.config.settings`'s.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pypimirror.config.access import LoginKeys, WayKeys
from pypimirror.config.model import Field, Model, field_validator, model_validator
from pypimirror.domain.checked import After
from pypimirror.domain.durations import Duration
from pypimirror.domain.sizes import ByteSize, Size


def _index_url(value: str, beside: Mapping[str, Any]) -> str:
    parts = urlsplit(value)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is no number up to 65535") from None
    is_directory = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
    if not is_directory and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError(
            "must be an http or https address such as http://127.0.0.1:8080/simple/, or a "
            "directory such as file:///srv/index/simple/"
        )
    if beside.get("kind") == "links":  # one page, whatever its address looks like
        if parts.fragment:
            raise ValueError("must not have a fragment")
        return value
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    return value if value.endswith("/") else value + "/"


@functools.cache
def pypi_address() -> str:
    """Return PyPI's address, as the pypi-simple library exports it.

    Read off its source where that can be: importing it imports requests, which costs a run that
    finds nothing changed more than all its work.
    """
    name = "PYPI_SIMPLE_ENDPOINT"
    spec = importlib.util.find_spec("pypi_simple")
    try:
        source = Path(str(spec and spec.origin)).read_bytes()
        for node in ast.parse(source).body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value:
                return str(ast.literal_eval(node.value))
    except (OSError, SyntaxError, ValueError):
        pass
    return str(getattr(importlib.import_module("pypi_simple"), name))


def upstream_name(url: str) -> str:
    """Return how an upstream may be called: by its host."""
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", host).strip("._-") or "upstream"


IndexUrl = Annotated[str, After(_index_url, beside=True)]  # behind a field `kind`, if there is one


_NAME = (
    "must be of small letters, digits, dots, dashes and underscores, and begin with one of the "
    "first two"
)


class MirrorSection(Model):
    """Where the mirror is."""

    directory: Path = Field(
        Path("mirror"), description="The mirror root; relative to the configuration file."
    )
    catalog: str = Field(
        "sqlite",
        description="`sqlite` for a file in the mirror's private directory, or any SQLAlchemy URL. "
        "A file of SQLite may not be elsewhere in the mirror root, which is served.",
    )
    layout: Literal["project", "pypi"] = Field(
        "project",
        description="Paths of files: `packages/<project>/<file>`, or upstream's own "
        "`packages/<2>/<2>/<60>/<file>`.",
    )
    durability: Literal["batch", "file"] = Field(
        "batch",
        description="How writes are made to survive a power cut: one flush of the file system "
        "(`syncfs`) for all that a batch writes, or a flush for each file and directory, for file "
        "systems that do not do the former (some network file systems) and disks that others "
        "write to without a pause. Systems without `syncfs`, such as macOS, always do the latter.",
    )
    reserve: Size = Field(
        ByteSize(256 << 20),
        ge=0,
        description="Space on disk that downloads leave free, for the catalog and for pages. A "
        "sync that would need it downloads nothing more and ends with exit code 3.",
    )

    @field_validator("directory", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        if value == "":
            raise ValueError('must name a directory, such as "mirror"')
        return value


class UpstreamSection(LoginKeys, WayKeys):
    """An index that is mirrored. One or more; the first that has a project owns it."""

    name: str = Field(
        "pypi", pattern=(r"[a-z0-9][a-z0-9._-]*", _NAME), description="How messages call it."
    )
    kind: Literal["simple", "links"] = Field(
        "simple",
        description="`simple`: a simple index; `links`: a plain page of links, to files of any "
        "number of projects, and to further such pages on its own host.",
    )
    url: IndexUrl = Field(
        description="The address of the index, or of the page of links; `file:///…/` for a "
        "directory that holds one, or just files: these are taken for an index of the projects "
        "that their names tell. Default: PyPI, as the pypi-simple library has it."
    )
    follow_external: bool = Field(
        False,
        description="Look for files beyond the upstream's own pages, one level deep: on the pages "
        "that a simple index marks with `rel` homepage or download, on pages of other hosts that "
        "a page of links names, and behind links that do not tell the name of their file. Only "
        "hosts that `hosts` allows are asked. Links to files with a name need this not: for them "
        "`hosts` alone decides.",
    )
    has_list: bool = Field(
        True,
        description="Whether it has a list of its projects, which globs and an empty "
        "`select.projects` need. `false`: it is asked by name alone, for projects that are named, "
        "or that another upstream lists.",
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="Other hosts that may be asked, for files, linked pages and redirects alike: "
        "`host`, `host:port`, or `*` for any public one. Addresses that are private or of this "
        "machine must be named here; `*` means none of them but that of the upstream's own host, "
        "where a gateway answers for both over TLS. PyPI has `*` unless set, because its files "
        "have a host of their own.",
    )
    newest: int = Field(
        20,
        ge=0,
        description="Of the files that only linked pages and downloads without a name offer, so "
        "many are mirrored for each project, those of the newest versions; 0 = all. Files that "
        "the upstream's own pages name are not counted.",
    )
    max_links: int = Field(
        100,
        ge=0,
        description="So many linked pages, and so many downloads without a name, are looked at: "
        "for each page of links, or for each project of a simple index.",
    )
    recheck: Duration = Field(
        timedelta(days=7),
        description="Time within which every project is asked for once, a share of them in each "
        "run, though nothing says that it changed: a status such as `archived` moves no serial. "
        "`0s`: never.",
    )
    alternates: tuple[IndexUrl, ...] = Field(
        (), description="Other addresses of the same upstream, tried in turn."
    )
    reserved: tuple[str, ...] = Field(
        (),
        description="Projects that only this upstream may own: names, globs and regular "
        "expressions, such as `acme-*`. No other upstream is asked for them, so nobody can slip in "
        "a project of that name there (dependency confusion), or learn the names.",
    )
    authoritative: bool = Field(
        False,
        description="Believe this upstream where sources contradict each other on a digest.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_is_pypi(cls, values: Any) -> Any:
        if not isinstance(values, dict) or ("url" in values and "hosts" in values):
            return values
        if not str(values.get("url", "https:")).startswith("https:"):
            return values
        values = {"url": pypi_address(), **values}
        if values["url"] == pypi_address():
            values = {"hosts": ("*",), **values}
        return values


class VerifySection(Model):
    """What proof a file needs to be published."""

    accept: Literal["digest", "shared", "structure", "partial"] = Field(
        "structure",
        description="The weakest proof that is good enough: `digest` (the owning upstream gave "
        "one), `shared` (another source did), `structure` (nobody did; the archive was read to "
        "its end), `partial` (nobody did, and the archive can be checked in part or, as "
        "`.exe`, `.msi`, `.rpm` and `.deb`, not at all). "
        "Applies to what is published already, both ways, without a download.",
    )
    on_changed: Literal["refuse", "replace"] = Field(
        "refuse",
        description="What to do when the upstream changes the digest of a file that is mirrored.",
    )


class QuarantineSection(Model):
    """How long bytes are kept that failed verification."""

    max_age: Duration = Field(timedelta(days=30), description="Older entries are deleted.")
    max_size: Size = Field(
        ByteSize(10 << 30), description="The oldest entries are deleted beyond this size in all."
    )


class DownloadSection(WayKeys):
    """How files and pages are fetched."""

    processes: int = Field(0, ge=0, le=256, description="Child processes; 0 = one per core.")
    connections: int = Field(
        64,
        ge=1,
        le=4096,
        description="Connections per process, at most: one host gets fewer to begin with, and more "
        "as long as that makes it faster.",
    )
    timeout: float = Field(
        30, gt=0, le=86_400, description="Seconds without a byte before giving up, a day at most."
    )
    tries: int = Field(5, ge=1, le=100, description="Attempts for each page and file.")
    max_file_size: Size = Field(
        ByteSize(5 << 30), description="No file larger than this is fetched."
    )
    denied: Literal["tell", "fail"] = Field(
        "tell",
        description="Single files that the upstream keeps back by a policy (403 or 451), as a "
        "firewall for packages does: `tell` counts and tells them apart, and the run completes; "
        "with `fail`, or where more is kept back than held, they count as failures.",
    )
    contact: str = Field(
        "", description="Address or URL that the User-Agent names, for the upstream's operators."
    )

    @field_validator("contact")
    @classmethod
    def _fits_a_header(cls, contact: str) -> str:
        wrong = next((c for c in contact if not c.isprintable() or ord(c) > 0xFF), None)
        if wrong is not None:
            raise ValueError(
                f"{wrong!r} cannot be in a header of HTTP, which this becomes a part of; letters "
                "of ISO 8859-1 can, and a host or an address can be spelled in ASCII"
            )
        return contact


class PublishSection(Model):
    """What pages are written."""

    formats: tuple[Literal["html", "json", "legacy"], ...] = Field(
        ("html", "json"),
        description="Forms of each page and of the root index: the simple API in HTML and in "
        "JSON, one of them at least; `legacy` adds PyPI's older JSON (`/pypi/<project>/json`) for "
        "tools that still need it.",
    )
    base_url: str = Field(
        "",
        description="What links to files begin with, where `packages/` is not served beside the "
        "pages: an address of a CDN, or a path such as `/mirror/`. Empty: links are relative.",
    )

    provenance: bool = Field(
        True,
        description="Mirror attestations (PEP 740) beside their files and have pages lead to them. "
        "`false`: none are fetched, and pages name none.",
    )
    changes: Path | None = Field(
        None,
        description="A file that each run writes: the paths below the mirror root that it added, "
        "changed and removed, in that order of events, for rsync, a CDN or an air gap. Empty until "
        "the run ends; what a run that was killed did is in the next list, so read each. A path "
        "that is not there any more goes further down. `{run}` in it is the run's name; relative "
        "to the configuration file.",
    )
    changes_format: Literal["lines", "nul", "json"] = Field(
        "lines",
        description="`lines`: a path to a line; `nul`: each ends with a NUL; `json`: an object "
        "with `change` and `path` to a line.",
    )

    @field_validator("formats")
    @classmethod
    def _has_an_index(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        if not {"html", "json"} & set(formats):
            raise ValueError("html or json is needed: clients install from them")
        return formats

    @field_validator("base_url")
    @classmethod
    def _is_a_base(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        is_address = parts.scheme in ("http", "https") and parts.hostname
        is_path = value.startswith("/") and not value.startswith("//")
        if not (is_address or is_path) or parts.query or parts.fragment:
            raise ValueError("must be an http or https address, or a path that begins with /")
        if re.search(r"[\s<>\"'`\\\x00-\x20]", value):
            raise ValueError("must be percent-encoded")
        return value if value.endswith("/") else value + "/"


class DeleteSection(Model):
    """How fast and how much is removed."""

    grace: Duration = Field(
        timedelta(hours=24), description="How long bytes stay after their links have gone."
    )
    max_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="A sync stops before it withdraws more than this share of the published "
        "files because the upstream dropped them. One project alone never trips it.",
    )
    max_count: int = Field(1000, ge=0, description="The same as a number of files.")
    keep: bool = Field(
        False,
        description="Whether files stay that the upstream deletes, each marked as yanked, with the "
        "reason that it was deleted: who pins it gets it, and nobody else does. What the upstream "
        "quarantines, or describes so that `[select]` leaves it out, goes all the same.",
    )


class MetricsSection(Model):
    """What Prometheus is told."""

    serve: bool = Field(
        True, description="Whether `pypimirror serve` tells it at `/metrics`, to whoever asks."
    )
    textfile: Path | None = Field(
        None,
        description="A file that each run writes it to at its end, for the textfile collector of "
        "a node exporter; relative to the configuration file. Its name must end in `.prom`.",
    )


class HistorySection(Model):
    """How long runs are remembered."""

    keep_runs: int = Field(
        2000,
        ge=1,
        description="So many runs are kept, the newest; the last is always, and so is of each "
        "command the last that completed.",
    )
    keep_for: Duration = Field(timedelta(days=90), description="Older runs are forgotten as well.")
