"""What a child says arrives as it was said."""

from __future__ import annotations

import logging

import msgspec
import pytest

from pypimirror.pipeline.executors.messages import Ended, LogLine, Message, Relay, RelayHandler


def test_a_log_record_arrives_without_its_level_and_logger_in_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[bytes] = []
    relay = Relay(sent.append)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    logging.basicConfig(handlers=[RelayHandler(relay)])  # as a child does
    logging.getLogger("pypimirror.catalog").warning("the disk is %s", "full")
    relay.end(Ended())
    told, _ = [msgspec.json.decode(line, type=Message) for line in sent]
    assert told == LogLine("warning", "the disk is full", "pypimirror.catalog")
