"""The sections of `pypimirror.toml`: their keys, with meaning and valid values.

`docs/configuration.md` is generated from these models. `pypimirror.config.settings` reads them.
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

from pypimirror.config.access import LoginKeys, StorageAddress, WayKeys
from pypimirror.config.model import Field, Model, field_validator, model_validator
from pypimirror.domain.checked import After
from pypimirror.domain.durations import Duration
from pypimirror.domain.sizes import ByteSize, Size


def _index_url(value: str, beside: Mapping[str, Any]) -> str:
    parts = urlsplit(value)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number up to 65535") from None
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

    It is read from the library's source if possible. Importing the library imports requests, which
    takes longer than all the work of a run that finds no change.
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
    """Return a name for an upstream, made from its host."""
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", host).strip("._-") or "upstream"


IndexUrl = Annotated[str, After(_index_url, beside=True)]  # a field `kind` must come before it


_NAME = (
    "may have only small letters, digits, dots, dashes and underscores, and must begin with a "
    "letter or digit"
)


class MirrorSection(Model):
    """Where the mirror is."""

    directory: Path = Field(
        Path("mirror"), description="The mirror root. Relative to the configuration file."
    )
    catalog: str = Field(
        "sqlite",
        description="`sqlite` for a file in the mirror's private directory, or an SQLAlchemy URL. "
        "That of an SQLite file is `sqlite:///PATH`, without a host, login, driver or options. "
        "The file must not be anywhere else in the mirror root, because that is served.",
    )
    layout: Literal["project", "pypi"] = Field(
        "project",
        description="Paths of files. `project`: `packages/<project>/<file>`; `pypi`: the "
        "upstream's own `packages/<2>/<2>/<60>/<file>`.",
    )
    storage: StorageAddress = Field(
        "directory",
        description="Where served files are. `directory`: in the mirror root. "
        "`s3://bucket/prefix`: on object storage, as `[s3]` says; the directory then has only the "
        "private part, such as downloads that are not verified yet.",
    )
    durability: Literal["batch", "file"] = Field(
        "batch",
        description="How writes survive a power cut. `batch`: one flush of the whole file system "
        "(`syncfs`) for each batch. `file`: a flush for each file and directory; use it for file "
        "systems without `syncfs` (some network file systems), and for disks on which other "
        "programs write all the time. Systems without `syncfs`, such as macOS, always use `file`.",
    )
    reserve: Size = Field(
        ByteSize(256 << 20),
        ge=0,
        description="Disk space that downloads leave free for the catalog and for pages. A sync "
        "that would need it downloads nothing more and ends with exit code 3.",
    )

    @field_validator("directory", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        if value == "":
            raise ValueError('must name a directory, such as "mirror"')
        return value


class UpstreamSection(LoginKeys, WayKeys):
    """An index that is mirrored. There may be several; the first that has a project owns it."""

    name: str = Field(
        "pypi",
        pattern=(r"[a-z0-9][a-z0-9._-]*", _NAME),
        description="Its name in messages and on pages. Default: the host in `url`.",
    )
    kind: Literal["simple", "links"] = Field(
        "simple",
        description="`simple`: a simple index. `links`: a plain page of links to files of any "
        "number of projects, and to further pages of this kind on its own host.",
    )
    url: IndexUrl = Field(
        description="The address of the index, or of the page of links. `file:///…/` is a "
        "directory with an index, or only with files: then the file names show which projects it "
        "has. Default: PyPI, as the pypi-simple library has it."
    )
    follow_external: bool = Field(
        False,
        description="Follow links one level deep to find files outside of the upstream's own "
        "pages: to pages that a simple index marks with `rel` homepage or download, to pages on "
        "other hosts that a page of links has, and to files whose link does not show their name. "
        "Only hosts in `hosts` are asked. Links that show a file name do not need this key: for "
        "them only `hosts` decides.",
    )
    has_list: bool = Field(
        True,
        description="Whether it has a list of its projects. Globs and an empty `select.projects` "
        "need one. `false`: a sync asks it only for named projects, and for projects that another "
        "upstream lists.",
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="Other hosts that may be asked for files, linked pages and redirects: `host`, "
        "`host:port`, or `*` for any public host. Private addresses, and those of this machine, "
        "must be named here. `*` does not include them, except the address of the upstream's own "
        "host, if a gateway answers for both over TLS. PyPI has `*` unless set, because its files "
        "are on another host.",
    )
    newest: int = Field(
        20,
        ge=0,
        description="Number of files that are mirrored for each project from "
        "linked pages and from links without a file name, newest versions first; 0 = all. Files on "
        "the upstream's own pages are not counted.",
    )
    max_links: int = Field(
        100,
        ge=0,
        description="Maximum number of linked pages, and of links without a file name, that are "
        "followed for each page of links, or for each project of a simple index.",
    )
    recheck: Duration = Field(
        timedelta(days=7),
        description="Time within which the page of every project is fetched once, even if nothing "
        "shows a change: a new status such as `archived` changes no serial. Each run fetches a "
        "share of these pages. `0s`: never.",
    )
    alternates: tuple[IndexUrl, ...] = Field(
        (), description="Other addresses of the same upstream, tried in this order."
    )
    reserved: tuple[str, ...] = Field(
        (),
        description="Projects that only this upstream may own: names, globs and regular "
        "expressions, such as `acme-*`. No other upstream is asked for them. So nobody can inject "
        "a project with such a name there (dependency confusion), or learn the names.",
    )
    authoritative: bool = Field(
        False,
        description="Trust this upstream if sources contradict each other about a digest.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_is_pypi(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        url = values.get("url")
        may_be = url is None or str(url).startswith("https:")
        address = pypi_address() if may_be and not {"url", "name", "hosts"} <= values.keys() else ""
        if url in (None, address):  # its files have a host of their own
            return {"url": address, "hosts": ("*",), **values}
        return {"name": upstream_name(str(url)), **values}


class VerifySection(Model):
    """Which proof a file needs to be published."""

    accept: Literal["digest", "shared", "structure", "partial"] = Field(
        "structure",
        description="The weakest proof that is accepted. `digest`: the owning upstream states a "
        "digest. `shared`: another source states one. `structure`: no source does, and the archive "
        "was read to its end. `partial`: no source does, and the archive can only be checked in "
        "part or, like `.exe`, `.msi`, `.rpm` and `.deb`, not at all. A change also applies to "
        "published files, in both directions, without a download.",
    )
    on_changed: Literal["refuse", "replace"] = Field(
        "refuse",
        description="What to do if the upstream changes the digest of a mirrored file.",
    )


class QuarantineSection(Model):
    """How long bytes that failed verification are kept."""

    max_age: Duration = Field(timedelta(days=30), description="Older entries are deleted.")
    max_size: Size = Field(
        ByteSize(10 << 30), description="Maximum total size. The oldest entries are deleted first."
    )


class DownloadSection(WayKeys):
    """How files and pages are fetched."""

    processes: int = Field(0, ge=0, le=256, description="Child processes; 0 = one per core.")
    connections: int = Field(
        128,
        ge=1,
        le=4096,
        description="Maximum number of connections per process. One host first gets fewer, and "
        "then more as long as that makes it faster.",
    )
    timeout: float = Field(
        30,
        gt=0,
        le=86_400,
        description="Seconds without a byte before an attempt fails; at most a day.",
    )
    tries: int = Field(5, ge=1, le=100, description="Attempts for each page and file.")
    max_file_size: Size = Field(ByteSize(5 << 30), description="Larger files are not fetched.")
    denied: Literal["tell", "fail"] = Field(
        "tell",
        description="How to treat files that the upstream withholds by a policy (403 or 451), like "
        "a package firewall. `tell`: they are counted and reported separately, and the run "
        "completes. `fail`: they are failures. They are always failures if more files are withheld "
        "than held.",
    )
    contact: str = Field(
        "", description="Mail address or URL in the User-Agent, for the operators of the upstream."
    )

    @field_validator("contact")
    @classmethod
    def _fits_a_header(cls, contact: str) -> str:
        wrong = next((c for c in contact if not c.isprintable() or ord(c) > 0xFF), None)
        if wrong is not None:
            raise ValueError(
                f"{wrong!r} cannot be in an HTTP header, and this becomes a part of one; use "
                "ISO 8859-1, or the ASCII form of a host or an address"
            )
        return contact


class PublishSection(Model):
    """Which pages are written."""

    formats: tuple[Literal["html", "json", "legacy"], ...] = Field(
        ("html", "json"),
        description="Forms of each page and of the root index: the simple API as HTML and JSON. At "
        "least one of them is needed. `legacy` adds PyPI's older JSON (`/pypi/<project>/json`) for "
        "tools that still need it.",
    )
    base_url: str = Field(
        "",
        description="Prefix of links to files, if `packages/` is not served beside the pages: the "
        "address of a CDN, or a path such as `/mirror/`. Empty: links are relative.",
    )

    provenance: bool = Field(
        True,
        description="Mirror attestations (PEP 740) beside their files, and link to them on pages. "
        "`false`: none are fetched, and pages have no such links.",
    )
    changes: Path | None = Field(
        None,
        description="A file with the list of changes, for rsync, a CDN or an air gap. Each run "
        "writes the paths below the mirror root that it added, changed and removed, in the order "
        "of these events. It is empty until the run ends. The changes of a killed run are in the "
        "next list, so read every list. Remove a listed path that no longer exists. `{run}` in the "
        "file name is the name of the run. Relative to the configuration file.",
    )
    changes_format: Literal["lines", "nul", "json"] = Field(
        "lines",
        description="`lines`: one path per line; `nul`: a NUL after each path; `json`: one object "
        "with `change` and `path` per line.",
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
        timedelta(hours=24),
        description="How long bytes stay after the last link to them was removed.",
    )
    max_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="A sync stops before it withdraws more than this share of the published "
        "files because the upstream dropped them. A single project never exceeds it.",
    )
    max_count: int = Field(1000, ge=0, description="The same limit as a number of files.")
    keep: bool = Field(
        False,
        description="Whether files that the upstream deletes stay. Each is marked as yanked, with "
        "its deletion as the reason: only users who pin the version get it. Files that the "
        "upstream quarantines, or that `[select]` excludes after a change upstream, are still "
        "removed.",
    )


class MetricsSection(Model):
    """Metrics for Prometheus."""

    serve: bool = Field(True, description="Whether `pypimirror serve` has `/metrics`, for anybody.")
    textfile: Path | None = Field(
        None,
        description="A file to which each run writes the metrics at its end, for the textfile "
        "collector of a node exporter. Its name must end in `.prom`. Relative to the configuration "
        "file.",
    )


class HistorySection(Model):
    """How long the history of runs is kept."""

    keep_runs: int = Field(
        2000,
        ge=1,
        description="Number of newest runs that are kept. The last run, and the last completed run "
        "of each command, are always kept.",
    )
    keep_for: Duration = Field(timedelta(days=90), description="Runs older than this are deleted.")
