"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pypimirror.config.settings import Config
from pypimirror.doctor import (
    catalog,
    directory,
    lists,
    named,
    prefect,
    roundtrip,
    space,
    upstreams,
    webhook,
)
from pypimirror.doctor.finding import Finding, failed
from pypimirror.domain.model import PypimirrorError
from pypimirror.system.space import remedy

Check = Callable[[Config], Iterator[Finding]]

#: By the name of the group, which a finding bears where its check could not even end.
CHECKS: dict[str, Check] = {
    "directory": directory.check,
    "catalog": catalog.check,
    "space": space.check,
    "upstream": upstreams.check,
    "list": lists.check,
    "projects": named.check,
    "round trip": roundtrip.check,
}


def examine(config: Config, prefect_api: str | None) -> Iterator[Finding]:
    """Do all checks; yield what they find as they find it.

    `prefect_api` is the address of the configured Prefect API, None where there is none.
    """
    checks = CHECKS | {
        "prefect": lambda config: prefect.check(prefect_api, config),
        "webhook": webhook.check,
    }
    for name, check in checks.items():
        yield from _guarded(name, check, config)


def _guarded(name: str, check: Check, config: Config) -> Iterator[Finding]:
    try:
        yield from check(config)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        yield failed(name, f"{where}{error.strerror or error}", remedy(error))
    except PypimirrorError as error:
        yield failed(name, f"{error}", "Set right what the message says")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the doctor is here to say
        text = str(error) or "no more is known"
        yield failed(name, f"the check itself failed: {type(error).__name__}: {text}", _ASK)


_ASK = "If the message does not tell what to do, please report it"
