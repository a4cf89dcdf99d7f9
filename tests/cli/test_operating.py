"""What `pypimirror up` says besides its addresses."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from pypimirror.cli.actions import operating
from pypimirror.cli.actions.run_news import RunNews
from pypimirror.domain.model import Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run
from pypimirror.up.parts import Part, Parts
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status


def interrupted(run: Run) -> NoReturn:
    """A first sync that is interrupted when it knows what to do."""
    sequence.perform(run, Stage.DISCOVER, Batch(0))
    raise KeyboardInterrupt


def test_it_says_what_an_interrupted_sync_has_left(
    mirror: Mirror, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert operating.unfinished(mirror.config) == 0
    for name in ("six", "idna"):
        offer(simulator, name, "1.0")
    assert mirror.sync(work=interrupted, sound=False).state == "cancelled"
    assert operating.unfinished(mirror.config) == 2
    part = Part("worker", (), {}, Path(), NotImplemented)
    parts = Parts("http://127.0.0.1:9/api", "http://127.0.0.1:9/", None, None, part, part)
    operating._announce(parts, mirror.config, 2, as_json=False, quiet=False)
    said = capsys.readouterr().out
    assert "The last sync was cut short. The next one does what it left: 2 projects." in said
    assert mirror.sync().state == "completed"
    assert operating.unfinished(mirror.config) == 0


def test_a_catalog_that_cannot_be_read_is_for_the_parts_to_report(mirror: Mirror) -> None:
    mirror.configure(mirror={"catalog": "postgresql+psycopg://nobody@127.0.0.1:9/none"})
    assert operating.unfinished(mirror.config) == 0


def test_it_says_which_sync_did_not_complete_once_and_when_one_does_again(
    mirror: Mirror, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pypimirror.up")
    news = RunNews(mirror.config)
    news.tell()  # there is no catalog yet
    with simulator.refusing():
        failed = mirror.sync(sound=False)
    (file,) = offer(simulator, "six", "1.0")
    simulator.fault(file, Status(404))
    incomplete = mirror.sync(sound=False)
    simulator.heal()
    for _ in range(2):
        news.tell()
    done = mirror.sync()
    mirror.sync()
    news.tell()
    told = (each for each in caplog.records if each.name == "pypimirror.up")
    first, second, last = (each.getMessage() for each in told)
    assert first.startswith(f"sync {failed.run} failed: no upstream answered")
    assert second.startswith(f"sync {incomplete.run} is incomplete with 1 failure; '")
    assert f"runs show {incomplete.run}'" in second
    assert last == f"sync {done.run} completed"
