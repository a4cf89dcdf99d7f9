"""The fuzzers work, and find no fault in a short time, with the same inputs each time."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path

import pytest

from tests import fuzzing


@pytest.mark.parametrize(
    ("module", "count"),
    [
        ("tests.download.fuzz_answers", 700),
        ("tests.upstream.fuzz_pages", 1500),
        ("tests.verify.fuzz_archives", 400),
    ],
)
def test_a_short_run(module: str, count: int) -> None:
    fuzzer = importlib.import_module(module)
    seeds = fuzzer.seeds()
    for data in seeds:
        fuzzer.one_input(data)
    for data in itertools.islice(fuzzing.edited(seeds, getattr(fuzzer, "WORDS", ())), count):
        try:
            fuzzer.one_input(data)
        except BaseException as error:
            error.add_note(f"the input is {data!r}")
            raise


def test_what_fails_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: bytes) -> None:
        assert b"\xff" not in data

    monkeypatch.setattr("sys.argv", ["fuzz", str(tmp_path / "inputs"), "-max_total_time=60"])
    monkeypatch.setattr(fuzzing, "atheris", None)
    with pytest.raises(AssertionError):
        fuzzing.run("test", fuzzing.targets(fails, seconds=60.0), [b"\0seed"], words=[b"\xff"])
    (crash,) = tmp_path.glob("crash-*")
    assert b"\xff" in crash.read_bytes()
    assert (tmp_path / "inputs" / "seed-00").read_bytes() == b"\0seed"
