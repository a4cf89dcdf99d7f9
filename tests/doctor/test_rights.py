"""Who may read, write and own a mirror, and what `doctor` says of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pypimirror.doctor.finding import Finding, FindingState
from tests.doctor.test_doctor import found
from tests.mirror import Mirror, offer
from tests.powerless import powerless
from tests.simulator import Simulator


def made(tmp_path: Path, simulator: Simulator, umask: int = 0o022) -> Mirror:
    """A mirror that a run with this umask made."""
    offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path, simulator, mirror={"reserve": "1 MiB"})
    mirror.select("six")
    before = os.umask(umask)
    try:
        mirror.sync()
    finally:
        os.umask(before)
    return mirror


def rights(mirror: Mirror) -> dict[str, Finding]:
    return found(mirror, "directory")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027])
def test_the_private_directory_is_for_its_owner_alone(
    tmp_path: Path, simulator: Simulator, umask: int
) -> None:
    mirror = made(tmp_path, simulator, umask)
    assert mode(mirror.root / ".pypimirror") == 0o700
    assert mode(mirror.root / "simple") == 0o777 & ~umask
    assert rights(mirror)["private"].state is FindingState.OK
    assert rights(mirror)["readers"].state is FindingState.OK


def test_what_the_operator_widened_stays_and_is_told(tmp_path: Path, simulator: Simulator) -> None:
    mirror = made(tmp_path, simulator)
    private = mirror.root / ".pypimirror"
    private.chmod(0o755)
    offer(simulator, "six", "2.0")
    mirror.sync()
    assert mode(private) == 0o755
    finding = rights(mirror)["private"]
    assert (finding.state, f"chmod 700 {private}" in finding.remedy) == (FindingState.WARNING, True)
    private.chmod(0o750)
    assert rights(mirror)["private"].state is FindingState.OK


@pytest.mark.parametrize("umask", [0o077, 0o066])
def test_a_mirror_that_no_web_server_can_read_is_told(
    tmp_path: Path, simulator: Simulator, umask: int
) -> None:
    mirror = made(tmp_path, simulator, umask)
    finding = rights(mirror)["readers"]
    assert finding.state is FindingState.WARNING
    assert "umask" in finding.remedy
    told = finding.remedy.partition(";")[0]
    assert os.system(f"sh -c '{told}'") == 0
    assert rights(mirror)["readers"].state is FindingState.OK
    assert rights(mirror)["private"].state is FindingState.OK


@pytest.mark.parametrize(
    "path",
    [".", "simple", "simple/six", "simple/six/index.html", "packages/six", "simple/index.html"],
)
def test_one_thing_that_only_its_owner_reads_is_found(
    tmp_path: Path, simulator: Simulator, path: str
) -> None:
    mirror = made(tmp_path, simulator)
    (mirror.root / path).chmod(0o700)
    assert rights(mirror)["readers"].state is FindingState.WARNING
    (mirror.root / path).chmod(0o750)
    assert rights(mirror)["readers"].state is FindingState.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("path", ["packages/six", "simple/six", ".pypimirror/lock"])
def test_what_another_user_left_in_the_way_is_found(
    tmp_path: Path, simulator: Simulator, path: str
) -> None:
    mirror = made(tmp_path, simulator)
    assert rights(mirror)["owners"].state is FindingState.OK
    os.chown(mirror.root / path, 1234, 1234)
    finding = rights(mirror)["owners"]
    assert (finding.state, str(mirror.root / path) in finding.seen) == (FindingState.WARNING, True)
    assert f"chown -R 0:0 {mirror.root}" in finding.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_that_are_replaced_and_directories_of_a_group_are_in_nobodys_way(
    tmp_path: Path, simulator: Simulator
) -> None:
    mirror = made(tmp_path, simulator)
    os.chown(mirror.root / "simple/six/index.html", 1234, 1234)
    os.chown(mirror.root / "packages/six", 1234, os.getegid())
    (mirror.root / "packages/six").chmod(0o775)
    assert rights(mirror)["owners"].state is FindingState.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("path", [".pypimirror/lock", "packages/six", ".pypimirror/staging"])
def test_a_run_that_another_users_file_stops_says_whose_it_is_and_what_to_do(
    tmp_path: Path, simulator: Simulator, path: str
) -> None:
    mirror = made(tmp_path, simulator)
    offer(simulator, "six", "2.0")
    os.chown(mirror.root / path, 1234, 1234)
    outcome = powerless("sync", "--inline", at=mirror.base)
    said = " ".join((outcome.stdout + outcome.stderr).split())
    assert outcome.returncode in (1, 3)
    assert "belongs to user 1234, and this is user 0" in said
    assert f"chown -R 0 {mirror.root / path}" in said
    assert "no upstream answered" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_in_a_mirror_of_another_is_warned(
    tmp_path: Path, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = made(tmp_path, simulator)
    mirror.sync()
    assert "this is root" not in caplog.text
    os.chown(mirror.root, 1234, 1234)
    mirror.sync()
    assert "belongs to user 1234" in caplog.text


def test_what_a_run_cannot_go_on_with_in_staging_is_cleared(
    tmp_path: Path, simulator: Simulator
) -> None:
    mirror = made(tmp_path, simulator)
    offer(simulator, "six", "2.0")
    staging = mirror.root / ".pypimirror/staging"
    for number in range(1, 9):  # whichever id the new file gets
        (staging / f"{number}.part").write_bytes(b"left")
        (staging / f"{number}.part.json").write_text('{"url":"","total":9,"etag":"\\"x\\""}')
        (staging / f"{number}.part").chmod(0o400)
    outcome = powerless("sync", "--inline", at=mirror.base)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert list(staging.iterdir()) == []
