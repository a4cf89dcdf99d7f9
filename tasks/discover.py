"""The task of the discover stage."""

from typing import Any

from prefect.client.schemas.objects import State

from pypimirror.domain.model import Stage
from tasks.stage import perform, stage_task


@stage_task(Stage.DISCOVER)
def discover(batch: int, projects: int) -> State[Any] | None:  # noqa: ARG001 - parameters are for the UI
    """Find the projects that have changed, and read the pages of a batch."""
    return perform(Stage.DISCOVER)
