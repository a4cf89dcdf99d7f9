"""Streams that are closed, full or left by their reader, and locales that lack letters.

Commands run as processes: what is tested is what a process finds when it starts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environment import isolated
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Corrupt, Simulator

ROOT = Path(__file__).parents[2]

#: Python would write ASCII, names of files included.
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror of everything that one upstream has."""
    return Mirror(tmp_path, simulator)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command in a shell, with redirections as people write them."""

    def run(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        command = f"set -o pipefail; {sys.executable} -m pypimirror {line}"
        environment = isolated(PYTHONPATH=str(ROOT)) | variables
        return subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, timeout=120
        )

    return run


@pytest.fixture(params=sample(["ascii", "latin-1"], "ascii"))
def locale(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """A locale that is not UTF-8, as variables."""
    if request.param == "ascii":
        return ASCII
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/charmaps").is_dir():
        pytest.skip("this machine cannot make locales")
    directory = tmp_path_factory.mktemp("locales")
    name = "en_US.ISO-8859-1"
    make = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(directory / name)]
    subprocess.run(make, check=True, capture_output=True)
    return {"LOCPATH": str(directory), "LC_ALL": name, "PYTHONUTF8": "0"}


@pytest.mark.parametrize("closed", sample(["<&-", ">&-", "2>&-", ">&- 2>&-"], ">&- 2>&-"))
def test_closed_streams_keep_no_command_from_its_work(
    run: Run, mirror: Mirror, simulator: Simulator, closed: str
) -> None:
    """Workers have streams of their own, and no file of the mirror gets the number of one."""
    offer(simulator, "six", "1.0")
    assert run(f"sync {closed}").returncode == 0
    mirror.check()
    assert run(f"doctor {closed}").returncode == 0


@pytest.mark.thorough
def test_the_exit_code_of_work_is_that_of_the_work_where_its_report_is_lost(
    run: Run, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    for _ in ("work", "nothing to do"):
        done = run("sync > /dev/full")
        assert done.returncode == 0
        assert b"standard output cannot be written: No space left on device" in done.stderr
        assert b"report it" not in done.stderr
    (bad,) = offer(simulator, "idna", "1.0")
    simulator.fault(bad, Corrupt())
    assert run("sync > /dev/full").returncode == 1
    mirror.check()


@pytest.mark.parametrize("line", sample(["sync --json", "runs", "--version"], "runs"))
def test_an_answer_that_is_lost_is_a_failure(
    run: Run, mirror: Mirror, simulator: Simulator, line: str
) -> None:
    """To answer is all that is asked here: 0 would say that there is an answer."""
    offer(simulator, "six", "1.0")
    run("sync")
    done = run(f"{line} > /dev/full")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines() == [
        "pypimirror: standard output cannot be written: No space left on device"
    ]


@pytest.mark.parametrize("line", sample(["sync", "status six", "--help"], "sync"))
def test_a_reader_that_goes_has_heard_enough(
    run: Run, mirror: Mirror, simulator: Simulator, line: str
) -> None:
    offer(simulator, "six", "1.0")
    run("sync")
    done = run(f"{line} | true")
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.thorough
def test_a_file_with_any_letter_is_mirrored_in_any_locale(
    run: Run, locale: dict[str, str], mirror: Mirror, simulator: Simulator
) -> None:
    """Its name on disk is UTF-8, as links to it are; messages write what the locale lacks."""
    offer(simulator, "six", "1.0")
    simulator.add_file("foo", "foo-1.0-ł.tar.gz", b"x")
    simulator.add_file("foo", "ł-1.0.tar.gz", b"x")
    done = run("sync", **locale)
    assert done.returncode == 1, done.stderr  # one name is of another project
    assert b"\\u0142-1.0.tar.gz" in done.stdout
    assert os.fsencode(mirror.root / "packages" / "foo") + "/foo-1.0-ł.tar.gz".encode() in {
        entry.path for entry in os.scandir(os.fsencode(mirror.root / "packages" / "foo"))
    }
    mirror.check()
    for line in ("explain foo", "runs show last"):
        assert run(line, **locale).returncode == 0, line
    document = json.loads(run("status foo --json", **locale).stdout)
    assert document["projects"][0]["files"][0]["file"] == "foo-1.0-ł.tar.gz"
    proven = run("runs show last --files --json", **locale)
    assert {f["file"] for f in json.loads(proven.stdout)["files"]} >= {"foo-1.0-ł.tar.gz"}


def test_our_own_signs_end_no_command_in_any_locale(
    run: Run, locale: dict[str, str], mirror: Mirror, simulator: Simulator
) -> None:
    for file in offer(simulator, "six", *(f"1.{number}" for number in range(25))):
        simulator.fault(file, Corrupt())
    done = run("sync", **locale)
    assert done.returncode == 1
    assert b"... and 5 more" in done.stdout


def test_a_path_that_is_no_text_is_told_and_not_tripped_over(run: Run, tmp_path: Path) -> None:
    done = run("init six --directory $'mirr\\xf6r'")
    assert done.returncode == 2
    assert b"TOML is UTF-8" in done.stderr
    assert not (tmp_path / "pypimirror.toml").exists()
    done = run("status --config $'mirr\\xf6r.toml'")
    assert done.returncode == 2
    assert b"mirr\\udcf6r.toml: there is no configuration" in done.stderr
