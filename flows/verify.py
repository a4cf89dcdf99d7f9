"""The flow `verify`: `pypimirror.pipeline.audit.audit`. Repairs use the tasks of the stages.

It is the entrypoint of the deployment `verify/weekly` in `prefect.yaml`. Its runs are in the same
history as those of `pypimirror verify`, and have the same final states as those of `flows.sync`.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import ending, running
from pypimirror.catalog.queries import runs
from pypimirror.config.settings import seconds
from pypimirror.domain.model import PypimirrorError
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit.audit import Options, again, audit
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary


@flow(name="verify", persist_result=False, result_serializer="json")
def verify(
    config: str = "pypimirror.toml",
    repair: bool = False,
    quick: bool = False,
    max_age: str | None = None,
    max_duration: str | None = None,
    wait: str | None = None,
) -> State[Any]:
    """Read all files on disk again and compare them with the catalog.

    `config` is the mirror's configuration file. "" means the file that PYPIMIRROR_CONFIG names
    where the flow runs, else `pypimirror.toml` in the project directory. The other parameters are
    those of `pypimirror verify`; `max_age` and `max_duration` are written as "7d" and "2h". `wait`
    is as in the flow `sync`.
    """
    try:
        options = Options(
            repair, quick, seconds(max_age, "max_age"), seconds(max_duration, "max_duration")
        )
        summary = running.perform(
            "verify",
            config,
            lambda run: _work(run, options),
            options=options.words(),
            wait=wait,
        )
    except PypimirrorError as error:  # there was no run
        return ending.without_run(error)
    return final_state(summary)


def final_state(summary: Summary) -> State[Any]:
    """Return the final state of a flow run."""
    counts = summary.counts
    if summary.state == runs.COMPLETED and summary.run:
        done = (
            f"{number_of(counts['files_checked'], 'file')} checked, {counts['repaired']:,} repaired"
        )
        return Completed(message=done)
    # For a verification, the files found are the files checked.
    counts = {**counts, "files_found": counts["files_checked"]}
    return ending.final_state(replace(summary, counts=counts))


def _work(run: Run, options: Options) -> None:
    if run.retry is not None:
        with run.catalog.read() as connection:
            row = runs.find(connection, run.retry.of)
            assert row is not None
            options = again(connection, row)
    audit(run, options, lambda current: sequence.repair(current, running.call_stage))
