"""Begins a sync while the rest of the program is still being imported, which takes some time.

It asks the upstreams whether their lists have changed. If one has changed, or if it cannot ask, it
starts the first download worker. The sync uses the answers if it would send the same requests;
otherwise it asks again.
"""

from __future__ import annotations

from pypimirror.catalog.queries import validators
from pypimirror.config.settings import Config
from pypimirror.download import unchanged
from pypimirror.download.unchanged import Question
from pypimirror.pipeline.context.remotes import question
from pypimirror.system.children import start_early

_GLOB = frozenset("*?[")


def begin(config: Config) -> None:
    """Ask the upstreams of a sync in this process, and start a download worker if it needs one."""
    if any(_GLOB.isdisjoint(entry) for entry in config.select.projects):
        _start_worker()  # it fetches the pages of projects that are named
        return
    known = {}
    if config.mirror.catalog == "sqlite":
        known = validators.of_lists(config.private / "catalog.sqlite")
    questions: list[Question | None] = [
        question(config, upstream.name, *known.get(upstream.name, (None, None)))
        if upstream.has_list and upstream.kind == "simple"
        else None
        for upstream in config.upstream
    ]
    asked = [each for each in questions if each is not None]
    if len(asked) < len(questions):
        _start_worker()
    else:
        unchanged.ask_early(asked, otherwise=_start_worker)


def _start_worker() -> None:
    start_early("pypimirror.download.worker")
