"""`pypimirror.toml`, strictly validated. What a key means stands in its description here, and
`docs/configuration.md` is generated from these models.

Sources, strongest first: `PYPIMIRROR_<SECTION>__<KEY>` in the environment, the file, defaults.
Does not know what the program does with a value.
"""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib.util
import json
import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pypimirror import __version__
from pypimirror.model import PypimirrorError

#: Where the configuration is looked for when no `--config` is given.
DEFAULT_FILE = Path("pypimirror.toml")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class ConfigError(PypimirrorError):
    """The configuration cannot be used; the message names the key and what is right."""


def parse_duration(value: object) -> timedelta:
    """Read "24h", "1.5d" and the like; a bare number is refused because its unit is a guess."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a number with one of s, m, h, d, w, such as "24h"')
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        raise ValueError("is longer than any time that can be counted") from None


def _index_url(value: str, info: ValidationInfo) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https address such as http://127.0.0.1:8080/simple/")
    if info.data.get("kind") == "links":  # one page, whatever its address looks like
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


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
IndexUrl = Annotated[str, AfterValidator(_index_url)]  # behind a field `kind`, if there is one


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MirrorSection(_Section):
    """Where the mirror is."""

    directory: Path = Field(
        Path("mirror"), description="The mirror root; relative to the configuration file."
    )
    catalog: str = Field(
        "sqlite",
        description="`sqlite` for a file in the mirror's private directory, or any SQLAlchemy URL.",
    )
    layout: Literal["project", "pypi"] = Field(
        "project",
        description="Paths of files: `packages/<project>/<file>`, or upstream's own "
        "`packages/<2>/<2>/<60>/<file>`.",
    )


class UpstreamSection(_Section):
    """An index that is mirrored. One or more; the first that has a project owns it."""

    name: str = Field(
        "pypi", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="How messages call it."
    )
    kind: Literal["simple", "links"] = Field(
        "simple",
        description="`simple`: a simple index; `links`: a plain page of links, to files of any "
        "number of projects, and to further such pages on its own host.",
    )
    url: IndexUrl = Field(
        description="The address of the index, or of the page of links. Default: PyPI, as the "
        "pypi-simple library has it."
    )
    follow_external: bool = Field(
        False,
        description="Look for files beyond the upstream's own pages, one level deep: on the pages "
        "that a simple index marks with `rel` homepage or download, on pages of other hosts that "
        "a page of links names, and behind links that do not tell the name of their file. Only "
        "hosts that `hosts` allows are asked. Links to files with a name need this not: for them "
        "`hosts` alone decides.",
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="Other hosts that may be asked, for files, linked pages and redirects alike: "
        "`host`, `host:port`, or `*` for any public one. Addresses that are private or of this "
        "machine must be named here; `*` never means them. PyPI has `*` unless set, because its "
        "files have a host of their own.",
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
    alternates: tuple[IndexUrl, ...] = Field(
        (), description="Other addresses of the same upstream, tried in turn."
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


class SelectSection(_Section):
    """What is mirrored. Takes effect at the next sync, both ways."""

    projects: tuple[str, ...] = Field(
        (),
        description="Names, requirements (`requests>=2.30`: only files of matching versions, "
        "pre-releases included) and globs (`zope.*`). Empty: all.",
    )
    exclude: tuple[str, ...] = Field((), description="The same forms; wins over `projects`.")
    files: tuple[str, ...] = Field(("*",), description="Globs that a file name must match.")
    exclude_files: tuple[str, ...] = Field((), description="Globs that it must not match.")


class VerifySection(_Section):
    """What proof a file needs to be published."""

    accept: Literal["digest", "shared", "structure", "partial"] = Field(
        "structure",
        description="The weakest proof that is good enough: `digest` (the owning upstream gave "
        "one), `shared` (another source did), `structure` (nobody did; the archive was read to "
        "its end), `partial` (nobody did, and the archive can be checked in part or not at all).",
    )
    on_changed: Literal["refuse", "replace"] = Field(
        "refuse",
        description="What to do when the upstream changes the digest of a file that is mirrored.",
    )


class QuarantineSection(_Section):
    """How long bytes are kept that failed verification."""

    max_age: Duration = Field(timedelta(days=30), description="Older entries are deleted.")
    max_size: ByteSize = Field(
        ByteSize(10 << 30), description="The oldest entries are deleted beyond this size in all."
    )


class DownloadSection(_Section):
    """How files and pages are fetched."""

    processes: int = Field(0, ge=0, le=256, description="Child processes; 0 = one per core.")
    connections: int = Field(64, ge=1, le=4096, description="Connections per process.")
    timeout: float = Field(30, gt=0, description="Seconds without a byte before giving up.")
    tries: int = Field(5, ge=1, le=100, description="Attempts for each page and file.")
    max_file_size: ByteSize = Field(
        ByteSize(5 << 30), description="No file larger than this is fetched."
    )
    contact: str = Field(
        "", description="Address or URL that the User-Agent names, for the upstream's operators."
    )


class PublishSection(_Section):
    """What pages are written."""

    formats: tuple[Literal["html", "json"], ...] = Field(
        ("html", "json"), min_length=1, description="Forms of each page and of the root index."
    )


class DeleteSection(_Section):
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


class Config(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix="PYPIMIRROR_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    mirror: MirrorSection = MirrorSection()
    upstream: tuple[UpstreamSection, ...] = Field(
        default_factory=lambda: (UpstreamSection.model_validate({}),)
    )
    select: SelectSection = SelectSection()
    verify: VerifySection = VerifySection()
    quarantine: QuarantineSection = QuarantineSection()
    download: DownloadSection = DownloadSection()
    publish: PublishSection = PublishSection()
    delete: DeleteSection = DeleteSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is given
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, which comes in as init arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _names_are_unique(self) -> Config:
        names = [upstream.name for upstream in self.upstream]
        if not names:
            raise ValueError("upstream: at least one is needed")
        if len(set(names)) != len(names):
            raise ValueError("upstream: two upstreams have the same name")
        if sum(upstream.authoritative for upstream in self.upstream) > 1:
            raise ValueError("upstream: only one can be authoritative")
        return self

    @property
    def directory(self) -> Path:
        """The mirror root, absolute."""
        return self.mirror.directory

    @property
    def private(self) -> Path:
        """The private directory below the mirror root; never served."""
        return self.directory / ".pypimirror"

    @property
    def catalog_url(self) -> str:
        """The catalog's SQLAlchemy URL."""
        if self.mirror.catalog == "sqlite":
            return f"sqlite:///{self.private / 'catalog.sqlite'}"
        return self.mirror.catalog

    @property
    def processes(self) -> int:
        """Number of download processes."""
        return self.download.processes or available_cores()

    @property
    def user_agent(self) -> str:
        """Product, version and contact, as index operators ask of mirrors."""
        contact = f" ({self.download.contact})" if self.download.contact else ""
        return f"pypimirror/{__version__}{contact}"

    def digest(self) -> str:
        """Identify this configuration in the run history."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load(path: Path | None = None) -> Config:
    """Read the configuration from `path`, else `./pypimirror.toml`.

    Raises `ConfigError` when there is none, or when it cannot be used.
    """
    file = DEFAULT_FILE if path is None else path
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        hint = "write one with 'pypimirror init', or name another with --config"
        raise ConfigError(f"{file}: there is no configuration; {hint}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        values = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    return parse(values, source=file)


def parse(values: dict[str, Any], source: Path) -> Config:
    """Validate `values`, which came from the file `source`; paths are relative to it."""
    _check_environment()
    try:
        config = Config(**values)
    except ValidationError as error:
        raise ConfigError(_explain(error, source)) from error
    except ValueError as error:  # pydantic-settings on an environment variable that is not JSON
        raise ConfigError(f"environment: {error}") from error
    base = source.absolute().parent
    mirror = config.mirror.model_copy(update={"directory": base / config.mirror.directory})
    return config.model_copy(update={"mirror": mirror})


def _check_environment() -> None:
    """Raise `ConfigError` on a section that does not exist, which pydantic-settings passes over."""
    for name in os.environ:
        section, separator, _ = name.lower().partition("__")
        section = section.removeprefix("pypimirror_")
        ours = separator and name.lower().startswith("pypimirror_")
        if ours and section not in Config.model_fields:
            raise ConfigError(f"environment: {name}: unknown section{_nearest((section,))}")


def _explain(error: ValidationError, source: Path) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{source}: {where}: unknown key{_nearest(item['loc'])}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{source}: {where + ': ' if where else ''}{message}")
    return "\n".join(lines)


def _nearest(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Config
    for part in location[:-1]:
        if isinstance(part, str):
            model = _section(model.model_fields[part].annotation)
    known = sorted(model.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _section(annotation: Any) -> type[BaseModel]:
    """Return the section behind `Section` or `tuple[Section, ...]`."""
    return next((a for a in get_args(annotation) if a is not Ellipsis), annotation)  # type: ignore[no-any-return]


def selection_digest(config: Config) -> str:
    """Identify what is selected from where: a page that was read otherwise must be read again."""
    upstreams = [
        (u.name, u.url, u.kind, u.follow_external, u.newest, u.max_links) for u in config.upstream
    ]
    text = json.dumps([upstreams, config.select.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
