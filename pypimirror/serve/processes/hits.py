"""On demand in another process: the pages that it believes, and reports of files that it sent."""

from __future__ import annotations

import time

import gevent

from pypimirror.serve.demand.pages import MOST
from pypimirror.serve.demand.remembered import Remembered
from pypimirror.serve.demand.usage import Files, Usage
from pypimirror.serve.files import Directory, directory
from pypimirror.serve.processes.channel import Believed, Channel, Message, SentFiles


class BelievedHits:
    """The pages that the first process believes. It reports sent files to the first process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._trees: Remembered[str | None, Directory] = Remembered(MOST)
        self._usage = Usage(self._say)
        self.file = self._usage.note
        self.tell = self._usage.tell
        gevent.spawn(self._usage.tell_often)

    def hear(self, message: Message) -> None:
        """Note a page that is believed."""
        if isinstance(message, Believed):
            seconds = message.until - time.monotonic()
            self._trees.note(message.project, directory(message.root), seconds)

    def page_tree(self, project: str | None) -> Directory | None:
        """Return where a page is, if it is believed."""
        return self._trees.believed(project)

    def _say(self, files: Files) -> bool:
        try:
            self._channel.send(SentFiles(files))
        except OSError:  # the first process has ended
            return False
        return True
