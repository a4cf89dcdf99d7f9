"""The task of the download stage."""

from typing import Any

from prefect.client.schemas.objects import State

from pypimirror.domain.model import Stage
from tasks.stage import perform, stage_task


@stage_task(Stage.DOWNLOAD)
def download(batch: int, projects: int) -> State[Any] | None:  # noqa: ARG001 - parameters are for the UI
    """Fetch the wanted files of a batch, in child processes."""
    return perform(Stage.DOWNLOAD)
