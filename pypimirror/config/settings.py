"""The whole of `pypimirror.toml`: how it is read and strictly validated.

Sources, strongest first: `PYPIMIRROR_<SECTION>__<KEY>` in the environment, the file, defaults.
`pypimirror.config.sections` explains each key. This module does not know what the program does with
a value.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pypimirror import __version__
from pypimirror.config import agreement, environment, faults, outputs, sources
from pypimirror.config.access import S3Section, logins_from_environment
from pypimirror.config.model import Field, Model, model_validator
from pypimirror.config.scheduling import (
    AlertsSection,
    PrefectSection,
    ScheduleSection,
    ServeSection,
    UpSection,
    WorkersSection,
)
from pypimirror.config.sections import (
    DeleteSection,
    DownloadSection,
    HistorySection,
    MetricsSection,
    MirrorSection,
    PublishSection,
    QuarantineSection,
    UpstreamSection,
    VerifySection,
)
from pypimirror.config.selecting import OnDemandSection, SelectSection
from pypimirror.config.values import ValidationError
from pypimirror.domain.durations import parse_duration
from pypimirror.domain.errors import ConfigError as ConfigError
from pypimirror.domain.errors import InstallerError
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.system import regular, texts

#: The configuration file that is read without `--config`.
DEFAULT_FILE = Path(sources.DEFAULT_FILE)


def seconds(text: str | None, name: str) -> float | None:
    """Parse the duration of the option `name` and return seconds; None if it was not given."""
    if not text:
        return None
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


class Config(Model):
    """The whole configuration."""

    _file: str = ""

    mirror: MirrorSection = MirrorSection()
    s3: S3Section = S3Section()
    upstream: tuple[UpstreamSection, ...] = Field(
        default_factory=lambda: (UpstreamSection.model_validate({}),)
    )
    select: SelectSection = SelectSection()
    on_demand: OnDemandSection = OnDemandSection()
    verify: VerifySection = VerifySection()
    quarantine: QuarantineSection = QuarantineSection()
    download: DownloadSection = DownloadSection()
    publish: PublishSection = PublishSection()
    delete: DeleteSection = DeleteSection()
    history: HistorySection = HistorySection()
    metrics: MetricsSection = MetricsSection()
    workers: WorkersSection = WorkersSection()
    schedule: ScheduleSection = ScheduleSection()
    alerts: AlertsSection = AlertsSection()
    serve: ServeSection = ServeSection()
    up: UpSection = UpSection()
    prefect: PrefectSection = PrefectSection()

    @model_validator(mode="before")
    @classmethod
    def _can_be_used_at_all(cls, values: Any) -> Any:
        if fault := faults.unusable(values):
            raise ValueError(fault)
        return values

    @model_validator(mode="after")
    def _names_are_unique(self) -> Config:
        names = [upstream.name for upstream in self.upstream]
        if not names:
            raise ValueError("upstream: at least one is needed")
        if len(set(names)) != len(names):
            raise ValueError("upstream: two upstreams have the same name; set name in each")
        if sum(upstream.authoritative for upstream in self.upstream) > 1:
            raise ValueError("upstream: only one can be authoritative")
        return self

    @model_validator(mode="after")
    def _pages_can_lead_to_an_upstream(self) -> Config:
        is_asked = self.select.metadata_only or any(r.metadata_only for r in self.select.rules)
        if is_asked and all(u.url.startswith("file:") and not u.hosts for u in self.upstream):
            raise ValueError(
                "select: metadata_only makes pages link to the upstream, which is a directory of "
                "this machine: others cannot fetch from it"
            )
        return self

    @model_validator(mode="after")
    def _addresses_name_projects(self) -> Config:
        if self.on_demand.projects and self.mirror.layout != "project":
            raise ValueError(
                'on_demand: needs layout = "project" in [mirror], so that the address of a file '
                "names its project"
            )
        return self

    @property
    def selects_all(self) -> bool:
        """Whether `[select]` names nothing and so means every project.

        With `[on_demand]`, it then means none: other files come when a client asks for them.
        """
        return not (self.select.projects or self.select.locks or self.on_demand.projects)

    @property
    def directory(self) -> Path:
        """The mirror root, absolute."""
        return self.mirror.directory

    @property
    def private(self) -> Path:
        """The private directory below the mirror root; never served."""
        return self.directory / ".pypimirror"

    @property
    def bucket(self) -> Bucket | None:
        """The bucket that the mirror is served from; None if it is served from `directory`."""
        return self.s3.bucket(self.mirror.storage)

    @property
    def shown(self) -> str:
        """The name of the mirror in messages: the bucket, or the mirror root."""
        return self.bucket.shown if self.bucket is not None else str(self.directory)

    @property
    def catalog_url(self) -> str:
        """The SQLAlchemy URL of the catalog."""
        if self.mirror.catalog == "sqlite":
            return sqlite_url(self.private / "catalog.sqlite")
        return self.mirror.catalog

    @property
    def processes(self) -> int:
        """Number of download processes."""
        return self.download.processes or available_cores()

    @property
    def user_agent(self) -> str:
        """Product, version and contact, which index operators ask mirrors to send."""
        contact = f" ({self.download.contact})" if self.download.contact else ""
        return f"pypimirror/{__version__}{contact}"

    def blame(self, fault: str) -> str:
        """Return a fault that begins with a key, preceded by where the key is set: file or
        variable.

        If the fault begins with a file that the configuration names, it is returned unchanged.
        """
        key = fault.partition(":")[0].replace("[", ".").replace("]", "")
        section, *rest = key.split(".")
        section = section.partition(" ")[0]  # the name of an upstream follows a space
        if section not in type(self).model_fields:
            return fault
        return f"{faults.source_of((section, *rest), self._file)}: {fault}"

    def digest(self) -> str:
        """Return a short digest of this configuration for the history of runs."""
        import hashlib  # imported here because it loads OpenSSL, which takes 2 ms

        text = json.dumps(self.model_dump(mode="json"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def digests_of_work(self) -> dict[str, str]:
        """Return digests of the keys on which all workers of a run must agree, by section.

        See `config.agreement`. Workers must also have the same `Selection.digest`.
        """
        return agreement.digests(self.model_dump(mode="json"))


def sqlite_url(file: Path) -> str:
    """Return the SQLAlchemy URL of an SQLite file. Special characters in its path are quoted."""
    return f"sqlite:///{quote(str(file)) if any(s in str(file) for s in '?#%') else file}"


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load(path: Path | None = None) -> Config:
    """Read the configuration from `path`, else from `./pypimirror.toml`.

    Raises `ConfigError` if there is none or if it is not valid.
    """
    file = DEFAULT_FILE if path is None else path
    try:
        content = regular.read_written(file)
    except regular.NotAFileError as error:
        raise ConfigError(f"{file}: {error.strerror}; name the configuration itself") from error
    except FileNotFoundError:
        hint = "write one with 'pypimirror init', or name another with --config"
        raise ConfigError(f"{file}: there is no configuration; {hint}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        values = tomllib.loads(texts.decode(content))
    except (tomllib.TOMLDecodeError, texts.TextError) as error:
        said = str(error).replace("Cannot overwrite a value", "This key is there already")
        raise ConfigError(f"{file}: not TOML: {said}") from error
    except (RecursionError, ValueError) as error:  # a limit of Python that TOML does not have
        raise ConfigError(f"{file}: cannot be read: {faults.bound(error)}") from error
    return parse(values, source=file)


def parse(values: dict[str, Any], source: Path) -> Config:
    """Validate the values of the file `source`. Relative paths start at its directory."""
    _check_environment()
    try:
        values = environment.overlaid(values, Config, os.environ)
        config = _with_logins(Config.model_validate(values))
    except ValidationError as error:
        raise ConfigError(_explain(error, source)) from error
    except InstallerError as error:
        raise ConfigError(f"{source}: upstream.login: {error}") from error
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"environment: {faults.bound(error)}") from error
    base = source.absolute().parent

    def placed(path: Path | None) -> Path | None:
        return path and base / _of_home(path)

    directory = base / _of_home(config.mirror.directory)
    mirror = config.mirror.model_copy(update={"directory": directory})
    changes, textfile = placed(config.publish.changes), placed(config.metrics.textfile)
    for key, path in (("publish.changes", changes), ("metrics.textfile", textfile)):
        if path and (why := outputs.fault(path, directory, [source.absolute()])):
            raise ConfigError(f"{source}: {key}: {path} {why}")
    if why := outputs.fault_of_catalog(mirror.catalog, directory):
        raise ConfigError(f"{source}: mirror.catalog: {why}")
    config._file = str(source)
    return config.model_copy(
        update={
            "mirror": mirror,
            "upstream": tuple(
                each.model_copy(update={"ca_file": placed(each.ca_file)})
                for each in config.upstream
            ),
            "download": config.download.model_copy(
                update={"ca_file": placed(config.download.ca_file)}
            ),
            "select": config.select.beside(base),
            "on_demand": config.on_demand.beside(base),
            "publish": config.publish.model_copy(update={"changes": changes}),
            "metrics": config.metrics.model_copy(update={"textfile": textfile}),
        }
    )


def _of_home(path: Path) -> Path:
    """Return a path with a leading `~` expanded as shells do."""
    try:
        return path.expanduser()
    except RuntimeError:  # an unknown user: take it as the name of a directory
        return path


def _with_logins(config: Config) -> Config:
    """Return the configuration with the logins of the environment and of installers."""
    logins = logins_from_environment([upstream.name for upstream in config.upstream])
    upstreams = tuple(_logged_in(each, logins.get(each.name, {})) for each in config.upstream)
    return config.model_copy(update={"upstream": upstreams})


def _logged_in(upstream: UpstreamSection, login: dict[str, str]) -> UpstreamSection:
    if login:
        values = _with_login(dict(upstream), login)
        upstream = UpstreamSection.model_validate(values)
    if not upstream.login:
        return upstream
    from pypimirror.config.found_logins import with_found_login  # few configurations need it

    return with_found_login(upstream)


def _with_login(values: dict[str, Any], login: dict[str, str]) -> dict[str, Any]:
    if "token" in login:  # a login of the other kind in the file is ignored
        values |= {"username": "", "password": ""}
    else:
        values |= {"token": ""}
    return values | login


def _check_environment() -> None:
    """Raise `ConfigError` for variables that would be ignored.

    These name an unknown section, or have a single underscore before the key.
    """
    for name in os.environ:
        _check_underscores(name)
        section, separator, _ = name.lower().partition("__")
        section = section.removeprefix("pypimirror_")
        ours = separator and name.lower().startswith("pypimirror_")
        if ours and section not in Config.model_fields:
            near = faults.nearest(section, Config.model_fields)
            raise ConfigError(f"environment: {name}: unknown section{near}")


def _check_underscores(name: str) -> None:
    section, _, key = name.lower().removeprefix("pypimirror_").partition("_")
    is_ours = name.lower().startswith("pypimirror_") and section in Config.model_fields
    if not is_ours or section == "upstream":  # its variables for logins have other names
        return
    annotation = Config.model_fields[section].annotation
    assert isinstance(annotation, type) and issubclass(annotation, Model)
    if key in annotation.model_fields:
        meant = f"{name[: -len(key) - 1]}__{name[-len(key) :]}"
        raise ConfigError(f"environment: {name}: is not a key; did you mean {meant}?")


def _explain(error: ValidationError, source: Path) -> str:
    lines = []
    for where, message, known in error.faults:
        source_of_key = faults.source_of(where, str(source))
        near = faults.nearest(str(where[-1]), known) if known is not None else ""
        key = "".join(f"{part}." for part in where)[:-1]
        lines.append(f"{source_of_key}: {key + ': ' if key else ''}{message}{near}")
    return "\n".join(lines)
