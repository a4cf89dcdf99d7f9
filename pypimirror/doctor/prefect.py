"""Checks Prefect, if an API is configured. It asks over HTTP and imports nothing of Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pypimirror.config.settings import Config
from pypimirror.doctor.finding import Finding, failed, ok, skipped, warning
from pypimirror.domain.addresses import without_login
from pypimirror.storage import lock
from pypimirror.up.asking import NoAnswerError, ask
from pypimirror.up.parts import LIMIT, UP_LOCK, limit

_FLOWS = ["sync", "verify"]


def check(api: str | None, config: Config | None = None) -> Iterator[Finding]:
    """Check that the API answers, that its version fits, and that a worker runs our deployments.

    `api` is the URL that is configured. If it is None, the API of the `pypimirror up` that works on
    the mirror of `config` is asked.
    """
    up = lock.holder_of(config.private / UP_LOCK) if config is not None else None
    if up is not None:
        process, named = up
        at = f"; its Prefect API is {named}" if named else ""
        yield ok("up", f"pypimirror up is running (process {process}){at}")
        api = api or named or None
    if api is None:
        yield skipped("prefect", "not used: no API is configured")
        return
    shown = without_login(api)
    starts = up is not None and api == up[1]
    try:
        theirs = str(_ask(api, "admin/version"))
        yield _version(shown, theirs)
        yield from _deployments(api, config, starts=starts)
    except NoAnswerError as error:
        yield _no_answer(shown, error, starts=starts)


def _no_answer(api: str, error: NoAnswerError, *, starts: bool) -> Finding:
    """Return the finding for an error; `starts`: `pypimirror up` starts this server."""
    if error.status is None:
        remedy = "Start the Prefect server, or unset PREFECT_API_URL: then syncs run inline"
        if starts:
            remedy = "Wait until pypimirror up has started it, or read what up prints of its server"
        return failed("prefect", f"{api}: does not answer: {error.why}", remedy)
    remedy = "Check PREFECT_API_URL: it ends in /api"
    if error.status in (401, 403):
        remedy = "Set PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
    return failed("prefect", f"{api}: answers with HTTP {error.status}", remedy)


def _version(api: str, theirs: str) -> Finding:
    try:
        ours = version("prefect")
    except PackageNotFoundError:
        return failed("prefect", "is not installed here", "Install it beside pypimirror")
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        seen = f"{api}: is Prefect {theirs}, and this machine has {ours}"
        return warning("prefect", seen, "Install the same release on both sides")
    return ok("prefect", f"{api}: Prefect {theirs}")


def _deployments(api: str, config: Config | None, *, starts: bool) -> Iterator[Finding]:
    flows = {"name": {"any_": _FLOWS}}
    found = _ask(api, "deployments/filter", {"flows": flows, "deployments": _IS_OURS})
    if not found:
        remedy = "Set them up: 'pypimirror deploy'; or start 'pypimirror up'"
        yield warning("prefect deployments", "there are none of pypimirror's", remedy)
        return
    names = sorted(str(each["name"]) for each in found)
    if config is not None and config.workers.shards and "shard" not in names:
        lack = "there is no sync/shard, which [workers] shards needs"
        yield warning("prefect deployments", lack, "Set it up: 'pypimirror deploy'")
    else:
        yield ok("prefect deployments", ", ".join(names))
    for pool in sorted({str(each["work_pool_name"]) for each in found}):
        workers = _ask(api, f"work_pools/{pool}/workers/filter", {})
        online = [worker["name"] for worker in workers if worker.get("status") == "ONLINE"]
        if online:
            yield ok("prefect worker", f"{len(online)} for the work pool {pool}")
        else:
            places = LIMIT if config is None else limit(config)
            remedy = f"Start one: 'prefect worker start --pool {pool} --limit {places}'"
            if starts:
                remedy = "Wait until pypimirror up has started it, or read what up prints of it"
            yield warning("prefect worker", f"none for the work pool {pool} is online", remedy)


#: The names of our deployments: other projects may have flows with the same names.
_IS_OURS = {"name": {"any_": ["scheduled", "adhoc", "shard", "weekly"]}}


def _ask(api: str, path: str, document: object = None) -> Any:
    return asyncio.run(ask(f"{api.rstrip('/')}/{path}", document))
