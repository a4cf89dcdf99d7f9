"""The task of the publish stage."""

from typing import Any

from prefect.client.schemas.objects import State

from pypimirror.domain.model import Stage
from tasks.stage import perform, stage_task


@stage_task(Stage.PUBLISH)
def publish(batch: int, projects: int) -> State[Any] | None:  # noqa: ARG001 - parameters are for the UI
    """Write the pages of a batch; at the end, finish the mirror as a whole."""
    return perform(Stage.PUBLISH)
