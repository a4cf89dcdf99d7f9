"""Runs all checks, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pypimirror.config.settings import Config
from pypimirror.doctor import catalog, lists, named, prefect, roundtrip, upstreams, webhook
from pypimirror.doctor.finding import Finding, failed
from pypimirror.doctor.place import bucket, directory, space
from pypimirror.domain.model import PypimirrorError
from pypimirror.system.space import remedy

DoctorCheck = Callable[[Config], Iterator[Finding]]

#: The checks by group. If a check raises, the finding has the name of the group.
CHECKS: dict[str, DoctorCheck] = {
    "directory": directory.check,
    "bucket": bucket.check,
    "catalog": catalog.check,
    "space": space.check,
    "upstream": upstreams.check,
    "list": lists.check,
    "projects": named.check,
    "on demand": named.check_on_demand,
    "uv": named.check_resolver,
    "round trip": roundtrip.check,
}


def examine(config: Config, prefect_api: str | None) -> Iterator[Finding]:
    """Run all checks; yield each finding as soon as it is there.

    `prefect_api` is the URL of the configured Prefect API; None if none is configured.
    """
    checks = CHECKS | {
        "prefect": lambda config: prefect.check(prefect_api, config),
        "webhook": webhook.check,
    }
    for name, check in checks.items():
        yield from _guarded(name, check, config)


def _guarded(name: str, check: DoctorCheck, config: Config) -> Iterator[Finding]:
    try:
        yield from check(config)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        yield failed(name, f"{where}{error.strerror or error}", remedy(error))
    except PypimirrorError as error:
        yield failed(name, f"{error}", "Correct what the message names")
    except Exception as error:  # noqa: BLE001 - any error is a finding
        text = str(error) or "no more is known"
        yield failed(name, f"the check itself failed: {type(error).__name__}: {text}", _ASK)


_ASK = "If the message does not say what to do, please report it"
