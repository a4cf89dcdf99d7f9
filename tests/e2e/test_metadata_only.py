"""pip and uv install from a mirror whose pages lead to the upstream, by its digests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.corpus.build import make_wheel
from tests.corpus.fetch import PIP_VERSIONS
from tests.e2e.clients import call, installed, make_environment, pip, said_on_error, uv_pip
from tests.e2e.mirror import Mirror
from tests.e2e.serving import Recorder, serve
from tests.mirror import offer
from tests.sampling import sample
from tests.simulator import Simulator

Install = Callable[[str, Path], list[str]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(params=sample(["pip", "uv"], "uv"))
def install(request: pytest.FixtureRequest, pip_wheels: dict[str, Path]) -> Install:
    """The beginning of an installation from an index into an environment, without any cache."""
    if request.param == "uv":
        return lambda index, python: [*uv_pip("install", index, python), "--no-cache"]
    wheel = pip_wheels[PIP_VERSIONS[-1]]
    return lambda index, python: [*pip(wheel, "install", index, python), "--no-cache-dir"]


def test_what_stays_at_the_upstream_is_installed_from_there_and_checked(
    simulator: Simulator, tmp_path: Path, install: Install
) -> None:
    (away,) = offer(simulator, "away", "1.0")
    (bad,) = offer(simulator, "away", "0.9")
    (here,) = offer(simulator, "here", "1.0")
    mirror = Mirror(tmp_path / "mirror", simulator.url, {"select": {"metadata_only": ["away"]}})
    mirror.sync()
    assert not (mirror.root / "packages/away").exists()
    simulator.forget()
    python = make_environment(tmp_path / "environment")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        f"away==1.0 --hash=sha256:{away.sha256}\nhere==1.0 --hash=sha256:{here.sha256}\n"
    )
    with serve(mirror) as url, Recorder(url) as recorder:
        command = install(recorder.url, python)
        call(*command, "--require-hashes", "-r", str(requirements))
        assert installed(python) == {"away": "1.0", "here": "1.0"}
        assert recorder.wheels == {here.filename}
        assert simulator.downloads(away.filename) and not simulator.downloads(here.filename)

        _, other = make_wheel("away", "0.9", files={"other": b"bytes"})
        simulator.serve(bad.path, other)
        told = said_on_error(*command, "away==0.9")
        assert bad.sha256 in told and "hash" in told.lower()
    assert installed(python) == {"away": "1.0", "here": "1.0"}
