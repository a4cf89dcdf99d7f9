"""The task of the download stage."""

from pypimirror.model import Stage
from tasks.stage import perform, stage_task


@stage_task(Stage.DOWNLOAD)
def download(batch: int, projects: int) -> None:  # noqa: ARG001 - parameters are for the UI
    """Fetch the files of a batch that are wanted, in child processes."""
    perform(Stage.DOWNLOAD)
