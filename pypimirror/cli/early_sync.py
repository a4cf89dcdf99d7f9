"""Begins a sync while the rest of the program is still being imported, which takes some time.

It asks the upstreams whether their lists have changed. If one has changed, or if it cannot ask, it
starts the first download worker. The sync uses the answers if it would send the same requests;
otherwise it asks again. If nothing is selected but what clients ask for, no list is read: then it
starts the worker if clients have asked for anything.
"""

from __future__ import annotations

from functools import partial

import msgspec

from pypimirror.catalog.queries import validators
from pypimirror.config.settings import Config
from pypimirror.download import unchanged
from pypimirror.download.unchanged import ConditionalRequest
from pypimirror.pipeline.context.remotes import hello, question
from pypimirror.system.children import start_early

_GLOB = frozenset("*?[")


def begin(config: Config) -> None:
    """Ask the upstreams of a sync in this process, and start a download worker if it needs one."""
    if any(_GLOB.isdisjoint(entry) for entry in config.select.projects):
        _start_worker(config)  # it fetches the pages of projects that are named
        return
    file = config.private / "catalog.sqlite"
    is_file = config.mirror.catalog == "sqlite"
    if not (config.select.projects or config.select.locks or config.selects_all):
        if is_file and validators.is_anything_asked(file):
            _start_worker(config)
        return
    known = validators.of_lists(file) if is_file else {}
    questions: list[ConditionalRequest | None] = [
        question(config, upstream.name, *known.get(upstream.name, (None, None)))
        if upstream.has_list and upstream.kind == "simple"
        else None
        for upstream in config.upstream
    ]
    asked = [each for each in questions if each is not None]
    if len(asked) < len(questions):
        _start_worker(config)
    else:
        unchanged.ask_early(asked, otherwise=partial(_start_worker, config))


def _start_worker(config: Config) -> None:
    # With its settings: it reads CA certificates, which takes 20 ms, before it has work.
    start_early("pypimirror.download.worker", msgspec.json.encode(hello(config)) + b"\n")
