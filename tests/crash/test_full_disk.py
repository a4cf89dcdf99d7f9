"""A real file system that is full, or read-only: the run says so, and the next one finishes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checker import check
from tests.corpus.build import make_sdist
from tests.crash.harness import Victim, leftovers, update
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Simulator

SIZE = 4 << 20
INODES = 200


def mount(path: Path, *options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes and two hundred names."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        mount(path, f"size={SIZE}", f"nr_inodes={INODES}")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {getattr(error, 'stderr', error)}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def ballast(disk: Path, left: int) -> Path:
    """Fill the disk but for so many bytes."""
    path = disk / "ballast"
    with path.open("wb") as stream:
        stream.write(bytes(max(0, shutil.disk_usage(disk).free - left)))
    return path


def without_reserve(mirror: Mirror) -> Mirror:
    mirror.configure(mirror={"reserve": 0})
    return mirror


def test_a_file_that_does_not_fit_is_not_begun(
    victim: Victim, simulator: Simulator, disk: Path
) -> None:
    file = simulator.add_file("six", *make_sdist("six", "1.0", padding=2 * SIZE))
    mirror = without_reserve(Mirror(disk, simulator))
    answer = victim.run(mirror)
    assert answer["state"] == "failed"
    assert str(mirror.root) in answer["message"] and "not enough space" in answer["message"]
    assert simulator.downloads(file.filename) == 0


def test_a_disk_that_fills_up_during_a_download(
    victim: Victim, simulator: Simulator, disk: Path
) -> None:
    """Nobody says how large the file is."""
    (held,) = offer(simulator, "idna", "1.0")
    mirror = without_reserve(Mirror(disk, simulator))
    assert victim.run(mirror)["state"] == "completed"
    made = make_sdist("six", "1.0", padding=2 * SIZE)
    file = simulator.add_file("six", *made, size=None)
    for _ in range(2):  # it never piles up
        answer = victim.run(mirror)
        assert answer["state"] in ("failed", "refused"), answer
        assert str(mirror.root) in answer["message"], answer
        assert check(mirror.root) == []
    assert mirror.files("idna") == [held.filename]
    subprocess.run(["mount", "-o", f"remount,size={8 * SIZE}", str(disk)], check=True)
    assert victim.run(mirror)["state"] == "completed"
    assert mirror.holds(file)
    assert leftovers(mirror) == []


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("of", sample(["bytes", "names"], "names"))
def test_a_disk_that_is_nearly_full(
    victim: Victim, simulator: Simulator, disk: Path, tmp_path: Path, of: str
) -> None:
    """Each time a little more goes through: staging, catalog, packages or pages are full."""
    scenario = update(victim, simulator, disk)
    mirror = scenario.mirror
    saved = tmp_path / "saved"
    shutil.copytree(mirror.root, saved)
    scenario.undisturbed(tmp_path / "undisturbed")
    ended = []
    for left in range(0, 80, 8) if of == "bytes" else range(12):
        if of == "bytes":
            weight = [ballast(disk, left * 4096)]
        else:
            free = INODES - sum(1 for _ in disk.rglob("*")) - 2 - left
            weight = [disk / f"ballast-{number}" for number in range(free)]
            for path in weight:
                path.touch()
        answer = victim.run(mirror)
        said = f"{left} left: {answer}"
        ended.append(answer["state"])
        if answer["state"] != "completed":
            assert answer["state"] in ("failed", "refused"), said
            assert str(mirror.root) in answer["message"], said
        assert check(mirror.root, agree=False) == [], said
        for path in weight:
            path.unlink()
        scenario.resume(mirror, said)
        shutil.rmtree(mirror.root)
        shutil.copytree(saved, mirror.root)
    assert {"failed", "refused"} & set(ended[:1]), ended


def test_a_disk_that_is_read_only(victim: Victim, simulator: Simulator, disk: Path) -> None:
    offer(simulator, "six", "1.0")
    mirror = Mirror(disk, simulator)
    mirror.configure(mirror={"reserve": 0})
    assert victim.run(mirror)["state"] == "completed"
    offer(simulator, "six", "2.0")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    answer = victim.run(mirror)
    assert answer["state"] in ("failed", "refused")
    assert str(mirror.root) in answer["message"]
    assert check(mirror.root) == []
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert victim.run(mirror)["state"] == "completed"
    assert len(mirror.files("six")) == 2
