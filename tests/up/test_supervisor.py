"""One part is kept alive, and given up where it does not live."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import ConfigError
from pypimirror.up import supervisor as supervisors
from pypimirror.up.parts import Part
from pypimirror.up.supervisor import GaveUpError, Supervisor
from tests.up.small_parts import BAD, GOOD, part


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisors, "BACKOFF", 0.01)
    monkeypatch.setattr(supervisors, "ASK_EVERY", 0.01)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded())


def test_a_part_that_dies_is_started_again(tmp_path: Path) -> None:
    async def work() -> None:
        supervisor = Supervisor(part(tmp_path, GOOD))
        keeping = asyncio.create_task(supervisor.keep())
        seen = set()
        for _ in range(2):
            await supervisor.ready.wait()
            assert supervisor.pid
            seen.add(supervisor.pid)
            os.kill(supervisor.pid, signal.SIGKILL)
            while supervisor.ready.is_set():
                await asyncio.sleep(0.01)
        await supervisor.ready.wait()
        assert supervisor.pid not in seen
        await supervisor.stop(30)
        await keeping

    run(work())


def test_a_part_that_does_not_live_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(GaveUpError, match=r"part ended with 7, 5 times in a row. It said:\n"):
            await Supervisor(part(tmp_path, BAD.format(code=7))).keep()

    run(work())


def test_a_part_that_lived_well_may_fail_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "STEADY", 0.0)

    async def work() -> None:
        supervisor = Supervisor(part(tmp_path, GOOD))
        keeping = asyncio.create_task(supervisor.keep())
        for _ in range(supervisors.TRIES + 1):
            await supervisor.ready.wait()
            supervisor.signal(signal.SIGKILL)
            while supervisor.ready.is_set():
                await asyncio.sleep(0.01)
        await supervisor.ready.wait()
        await supervisor.stop(30)
        await keeping

    run(work())


def test_a_part_that_never_becomes_ready_is_killed_and_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "PATIENCE", 0.2)

    async def work() -> None:
        with pytest.raises(GaveUpError, match="was killed by SIGKILL"):
            await Supervisor(part(tmp_path, "import signal; signal.pause()")).keep()

    run(work())


def test_long_lines_are_cut_and_the_last_one_needs_no_end(tmp_path: Path) -> None:
    code = "print('x' * 200_000); print('then'); print('last', end='', flush=True); sys.exit(2)"

    async def work() -> None:
        with pytest.raises(ConfigError) as said:
            await Supervisor(part(tmp_path, f"import sys; {code}")).complete()
        *cut, then, last = str(said.value).split("\n  ")[1:]
        assert "".join(cut) == "x" * 200_000
        assert len(cut) > 1
        assert (then, last) == ("then", "last")

    run(work())


def test_whoever_holds_on_to_the_output_of_a_part_holds_up_no_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "LAST_WORDS", 0.05)
    code = "import signal; signal.pause()"
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {code!r}])"

    async def work() -> None:
        with pytest.raises(ConfigError) as said:
            text = f"{parent}; print(p.pid, flush=True); sys.exit(2)"
            await Supervisor(part(tmp_path, text)).complete()
        os.kill(int(str(said.value).split()[-1]), signal.SIGKILL)

    run(work())


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    real = part(tmp_path, "")
    absent = Part("absent", ("/nowhere/program",), dict(os.environ), tmp_path, real.watch)

    async def work() -> None:
        with pytest.raises(GaveUpError, match="No such file"):
            await Supervisor(absent).keep()

    run(work())


def test_a_step_is_repeated_unless_it_says_that_it_was_asked_wrongly(tmp_path: Path) -> None:
    once = "import pathlib, sys\np = pathlib.Path('n')\nn = p.exists()\np.touch()\nsys.exit(not n)"

    async def work() -> None:
        await Supervisor(part(tmp_path, once, "second")).complete()
        with pytest.raises(ConfigError, match="no database"):
            await Supervisor(part(tmp_path, BAD.format(code=2), "wrong")).complete()
        with pytest.raises(GaveUpError, match="5 times in a row"):
            await Supervisor(part(tmp_path, BAD.format(code=3), "never")).complete()

    run(work())
