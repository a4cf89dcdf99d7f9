"""The sections of `pypimirror.toml` on the web server, workers, schedules, alerts, and `up`.

`docs/configuration.md` is generated from these models.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pypimirror.config.model import Field, Model
from pypimirror.domain import cron
from pypimirror.domain.checked import After
from pypimirror.domain.durations import Duration, parse_duration

_CRON = re.compile(r"[\w*/,?#-]+(?: [\w*/,?#-]+){4}")


def _schedule(value: str) -> str:
    """Check a cron expression, a duration, or "". Prefect judges the calendar."""
    value = " ".join(value.split())
    if not value:
        return value
    if _CRON.fullmatch(value):
        cron.check(value)
        return value
    try:
        every = parse_duration(value)
    except ValueError:
        raise ValueError(
            'must be five cron fields such as "17 * * * *", a time such as "10m", or "" for never'
        ) from None
    if not every:
        raise ValueError("must be longer than 0s")
    return value


def _timezone(value: str) -> str:
    if value != "UTC":
        from zoneinfo import ZoneInfo  # it reads files, and most configurations do not need it

        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError("is not a known time zone, such as UTC or Europe/Paris") from None
    return value


def _address(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("must be an http or https address")
    return value


def _patience(value: timedelta) -> timedelta:
    if value < timedelta(seconds=10):
        raise ValueError("must be 10s or more")
    return value


Schedule = Annotated[str, After(_schedule)]
TimeZone = Annotated[str, After(_timezone)]
OptionalAddress = Annotated[str, After(_address)]
Patience = Annotated[Duration, After(_patience)]


class ScheduleSection(Model):
    """When Prefect runs what. Takes effect with the next `pypimirror up` or `pypimirror deploy`."""

    sync: Schedule = Field(
        "17 * * * *",
        description='When to sync: five cron fields, a time between two runs such as "10m", or "" '
        "for never.",
    )
    verify: Schedule = Field(
        "47 3 * * 0", description="When to verify and repair the files on disk. The same forms."
    )
    timezone: TimeZone = Field("UTC", description="The time zone of the cron fields.")


class ServeSection(Model):
    """How the web server answers."""

    pages: bool = Field(
        True,
        description="Whether there are pages for people: the front page, a page for each project, "
        "search, feeds and the status. The web server reads the catalog for them. Without pages, "
        "`/` says how to install.",
    )
    status: Literal["public", "local", "off"] = Field(
        "public",
        description="Who can see `/status`. `public`: everybody. `local`: clients on this machine "
        "that do not come through a proxy. `off`: nobody.",
    )
    processes: int = Field(
        0,
        ge=0,
        le=256,
        description="Processes that answer requests. 0 = one per core, at most 4. A mirror on "
        "object storage has one. [What they share](operations.md#several-processes).",
    )
    redirect: bool = Field(
        False,
        description="For a mirror on object storage: redirect clients to signed addresses of "
        "files, instead of passing the bytes on. Pages are never redirected.",
    )
    redirect_for: Duration = Field(
        timedelta(minutes=15),
        ge=timedelta(minutes=1),
        le=timedelta(hours=12),
        description="How long a signed address is valid. A download that has begun continues.",
    )


class WorkersSection(Model):
    """Other workers of a run, besides the process that began it."""

    shards: int = Field(
        0,
        ge=0,
        le=256,
        description="A sync that runs in Prefect starts this many runs of the deployment "
        "`sync/shard` in the work pool. They share the projects of the sync, on any machines that "
        "have a Prefect worker for this work pool. With too little to do, the sync starts none. If "
        "none begins, the sync does all the work itself. [How to set it "
        "up](operations.md#several-machines).",
    )


class UpSection(Model):
    """What `pypimirror up` starts besides Prefect."""

    web: bool = Field(True, description="Whether the mirror is served.")
    host: str = Field("127.0.0.1", min_length=1, description="Address of the web server.")
    port: int = Field(8080, ge=0, le=65535, description="Its port; 0 means any free one.")


class PrefectSection(Model):
    """The Prefect server of `pypimirror up`."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address of its API and UI. Neither asks for a login.",
    )
    port: int = Field(4200, ge=0, le=65535, description="Their port; 0 means any free one.")
    database: str = Field(
        "",
        description="Its database, as an SQLAlchemy URL with an asynchronous driver, such as "
        "`postgresql+asyncpg://…`. Empty: the variable `PREFECT_SERVER_DATABASE_CONNECTION_URL`, "
        "else an SQLite file in the mirror's private directory.",
    )


class AlertsSection(Model):
    """When Prefect sends alerts. `pypimirror up` and `pypimirror deploy` set them up."""

    webhook: OptionalAddress = Field(
        "",
        description="Address that receives a JSON document by POST when a run fails, is late or is "
        "stuck. Empty: no alerts.",
    )
    late: Patience = Field(
        timedelta(minutes=15),
        description="A run is late if it has not begun this long after its scheduled time.",
    )
    stuck: Patience = Field(
        timedelta(hours=12), description="A run is stuck if it works for longer than this."
    )
