"""The task of the verify stage."""

from typing import Any

from prefect.client.schemas.objects import State

from pypimirror.domain.model import Stage
from tasks.stage import perform, stage_task


@stage_task(Stage.VERIFY)
def verify(batch: int, projects: int) -> State[Any] | None:  # noqa: ARG001 - parameters are for the UI
    """Move the proven files of a batch to their places."""
    return perform(Stage.VERIFY)
