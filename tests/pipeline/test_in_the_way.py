"""What stands where a file or a page belongs is that file's or that project's failure, and stays.

Promise 7: it stops no other, and every run says so until it is moved away.
"""

from __future__ import annotations

import pytest

from tests.mirror import Mirror, attest, offer, reasons
from tests.simulator import Simulator


@pytest.mark.parametrize("suffix", ["", ".metadata", ".provenance"])
def test_a_directory_in_the_place_of_a_file_is_that_files_failure(
    mirror: Mirror, simulator: Simulator, suffix: str
) -> None:
    bad, good = offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "idna", "1.0")
    attest(bad)
    place = mirror.path(bad)
    stranger = place.with_name(place.name + suffix)
    (stranger / "precious").mkdir(parents=True)
    downloaded = 3
    for _ in range(2):
        result = mirror.sync(sound=not suffix)
        assert result.state == "incomplete"
        assert reasons(result.failures) == {bad.filename: "foreign"}
        assert str(stranger) in result.failures[0].message
        assert result.counts["files_downloaded"] == downloaded, "and is not fetched again"
        assert mirror.projects == ["idna", "six"]
        # Without attestations, a file is served all the same.
        shown = [bad.filename, good.filename] if suffix == ".provenance" else [good.filename]
        assert mirror.files("six") == shown
        downloaded = 0
    assert (stranger / "precious").is_dir()
    (stranger / "precious").rmdir()
    stranger.rmdir()
    result = mirror.sync(retry=result.run) if suffix == ".provenance" else mirror.sync()
    assert result.state == "completed"
    assert mirror.files("six") == [bad.filename, good.filename]
    assert mirror.path(bad).with_name(f"{bad.filename}.provenance").is_file()


@pytest.mark.parametrize("place", ["simple/six", "simple/six/index.html", "packages/six"])
def test_what_stands_where_a_projects_directory_or_page_belongs_is_its_failure(
    mirror: Mirror, simulator: Simulator, place: str
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    stranger = mirror.root / place
    stranger.parent.mkdir(parents=True)
    if place.endswith(".html"):
        (stranger / "precious").mkdir(parents=True)
    else:
        stranger.write_text("precious")
    for _ in range(2):
        result = mirror.sync(sound=False)
        assert result.state == "incomplete"
        assert set(reasons(result.failures).values()) == {"foreign"}
        assert {problem.project for problem in result.failures} == {"six"}
        assert "idna" in mirror.projects
        if place.startswith("simple"):
            assert mirror.projects == ["idna"]
    stranger.rename(mirror.base / "aside")
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["idna", "six"]


@pytest.mark.parametrize("project", ["six", "idna"])
def test_what_stands_there_does_not_hold_up_removals(
    mirror: Mirror, simulator: Simulator, project: str
) -> None:
    """Of the project itself, nor of another."""
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.configure(delete={"max_share": 1.0})
    mirror.sync()
    for path in (mirror.path(file), mirror.root / "simple/six/index.html"):
        path.unlink()
        (path / "precious").mkdir(parents=True)
    simulator.delete_project(project)
    mirror.sync(sound=False)
    assert project not in mirror.projects
    assert (mirror.path(file) / "precious").is_dir()
    assert not (mirror.root / "packages/idna").exists() or project == "six"
