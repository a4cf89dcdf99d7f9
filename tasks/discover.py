"""The task of the discover stage."""

from typing import Any

from prefect.client.schemas.objects import State

from pypimirror.domain.model import Stage
from tasks.stage import perform, stage_task


@stage_task(Stage.DISCOVER)
def discover(batch: int, projects: int) -> State[Any] | None:  # noqa: ARG001 - parameters are for the UI
    """Ask which projects have changed, and what the pages of a batch say."""
    return perform(Stage.DISCOVER)
