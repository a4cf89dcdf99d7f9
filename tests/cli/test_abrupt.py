"""A signal, or the end of memory, at any moment of any command: one line, and the right exit code.

The moments are not measured in seconds. Python tells audit hooks of each import, of each file that
is opened, and of much else: what is to come comes at such an event, which is always the same one.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.corpus.build import make_wheel
from tests.mirror import Mirror
from tests.simulator import Simulator

ROOT = Path(__file__).parents[2]

#: What Python imports before anything of ours; it acts in the command itself, not in its children.
HOOK = """
import os, sys
if os.getppid() == int(os.environ["TEST_PARENT"]):
    me, when, what = os.getpid(), int(os.environ["TEST_WHEN"]), os.environ["TEST_WHAT"]
    seen = -1  # nothing is ours yet

    def hook(event, arguments):
        global seen
        if os.getpid() != me:  # a child that has not yet become another program
            return
        if seen < 0 and (event != "import" or arguments[0] != "pypimirror.system.streams"):
            return
        seen += 1
        if seen == when:
            if what == "MemoryError":
                raise MemoryError
            os.kill(me, int(what))

    def note():
        with open(os.environ["TEST_COUNT"], "w") as file:
            file.write(str(seen))

    if what == "0":
        import atexit
        atexit.register(note)
    sys.addaudithook(hook)
"""

COMMANDS = {
    "help": ["--help"],
    "init": ["init", "six", "--config", "other.toml", "--upstream", "http://127.0.0.1:9/simple/"],
    "nothing to do": ["sync"],
    "sync": ["sync", "again"],
    "dry run": ["sync", "--dry-run"],
    "retry": ["retry", "last"],
    "verify": ["verify"],
    "status": ["status"],
    "runs": ["runs"],
    "runs show": ["runs", "show", "last"],
    "explain": ["explain", "six"],
    "metrics": ["metrics"],
    "doctor": ["doctor"],
    "quarantine": ["quarantine"],
    "adopt": ["adopt"],
    "no such command": ["sink"],
}
JSON = {"runs", "status", "doctor", "sync", "dry run", "explain", "nothing to do"}

#: Those that have less to do when they are repeated.
RESTING = {"nothing to do", "verify"}

#: Shares of all that happens in a command, of a hundred.
MOMENTS = (3, 25, 40, 58, 73, 88, 95)
#: Of commands that do less than a sync.
SOME = (40,)
USUAL = {("sync", 40), ("verify", 40)}
CASES = [
    pytest.param(name, moment, marks=[] if (name, moment) in USUAL else [pytest.mark.thorough])
    for name in COMMANDS
    for moment in (MOMENTS if name == "sync" else SOME)
]

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror of two projects, to be copied."""
    with Simulator() as simulator:
        simulator.add_file("six", *make_wheel("six", "1.0"))
        simulator.add_file("again", *make_wheel("again", "1.0"))
        mirror = Mirror(tmp_path_factory.mktemp("abrupt"), simulator)
        assert mirror.sync().state == "completed"
        yield mirror


@pytest.fixture
def copied(tmp_path: Path, synced: Mirror) -> Mirror:
    """A mirror in `tmp_path`."""
    shutil.copytree(synced.base, tmp_path, dirs_exist_ok=True)
    return Mirror(tmp_path, *synced.simulators)


@pytest.fixture
def command(tmp_path: Path, copied: Mirror) -> Command:
    """Runs a command in which something happens at its `when`-th event."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOOK)

    def run(*arguments: str, what: str = "0", when: int = 0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from pypimirror.__main__ import main; main()", *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": f"{site}:{ROOT}",
                "TEST_PARENT": str(os.getpid()),
                "TEST_WHAT": what,
                "TEST_WHEN": str(when),
                "TEST_COUNT": str(tmp_path / "count"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


_known: dict[tuple[str, ...], tuple[int, int]] = {}


def events_of(
    name: str, command: Command, arguments: list[str], directory: Path
) -> tuple[int, int]:
    """How much happens in a command, and the code that it ends with.

    It is about as much in each copy of the mirror, so it is counted once in this process. The
    first sync of a copy doubts it, and so has more to do.
    """
    key = tuple(arguments)
    for _ in range(2 if name in RESTING else 0):
        command(*arguments)
    if key not in _known:
        done = command(*arguments)
        _known[key] = (int((directory / "count").read_text()), done.returncode)
    return _known[key]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "moment"), CASES)
def test_a_signal_ends_every_command_with_one_line(
    name: str, moment: int, command: Command, copied: Mirror, tmp_path: Path
) -> None:
    arguments = [*COMMANDS[name], *(["--json"] if name in JSON else [])]
    events, code = events_of(name, command, arguments, tmp_path)
    done = command(*arguments, what="2", when=events * moment // 100)
    told = f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 130 or (moment > 90 and done.returncode == code), told
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, told
    if done.returncode == 130 and "cancelled" not in done.stdout + done.stderr:
        assert done.stderr.splitlines()[-1:] == ["pypimirror: interrupted"], told
    if name in JSON and done.returncode == 130:
        document = json.loads(done.stdout)
        assert document.get("state") == "cancelled" or document["error"]["exit"] == 130
    copied.check()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "moment"), CASES)
def test_the_end_of_memory_leaves_no_traceback(
    name: str, moment: int, command: Command, copied: Mirror, tmp_path: Path
) -> None:
    """Where a library does without what it lacked the memory for, the command ends as ever."""
    arguments = COMMANDS[name]
    events, code = events_of(name, command, arguments, tmp_path)
    done = command(*arguments, what="MemoryError", when=events * moment // 100)
    told = f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode in (3, code), told
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, told
    if done.returncode == 3 != code:
        assert "out of memory" in done.stdout + done.stderr, told
    copied.check()
    assert copied.sync().state == "completed"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="others do not keep such a limit")
@pytest.mark.parametrize(
    "limit", [64, 100, *(pytest.param(n, marks=pytest.mark.thorough) for n in range(48, 260, 32))]
)
def test_a_limit_of_memory_leaves_no_traceback(
    limit: int, mirror: Mirror, simulator: Simulator, tmp_path: Path
) -> None:
    """As by `ulimit -v`, also for the children; in MiB."""
    simulator.add_file("six", *make_wheel("six", "1.0"))
    done = subprocess.run(
        [sys.executable, "-m", "pypimirror", "sync"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit << 20, limit << 20)),
        capture_output=True,
        text=True,
    )
    told = f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, told
    if done.returncode == 3:
        assert "out of memory" in done.stdout + done.stderr, told
    mirror.check()
    assert mirror.sync().state == "completed"
