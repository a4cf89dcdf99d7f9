"""A quick verification of what nobody has touched is told so at once, and never wrongly."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import statistics
from pypimirror.cli import idle
from pypimirror.domain.layout import METADATA_SUFFIX
from tests.cli.conftest import Command
from tests.cli.test_idle import LIGHT, disturb, history, work
from tests.environment import isolated
from tests.mirror import Mirror, offer
from tests.sampling import sample
from tests.simulator import Simulator

VERIFY = ("verify", "--quick", "--json")


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypimirror.system.interrupts.install", lambda: None)
    monkeypatch.setattr("pypimirror.system.interrupts.ignore", lambda: None)


@pytest.fixture
def seen(run: Command, mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror that was just seen to be right."""
    offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    assert run(*VERIFY).code == 0
    return mirror


def _timeless(text: str) -> list[str]:
    """What a command prints, without the name of its run and how long it took."""
    return re.sub(r'("seconds": |in )[0-9.]+', "", text).splitlines()[2:]


def test_it_is_recorded_and_told_as_any_other(
    seen: Mirror, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (("--json",), (), ("-q",)):
        capsys.readouterr()
        assert idle.attempt(("verify", "--quick", *options)) == 0
        short = capsys.readouterr().out
        whole = run("verify", "--quick", *options).out
        assert _timeless(short) == _timeless(whole)
        assert len(short.splitlines()) == len(whole.splitlines())
        *_, one, other = history(seen)
        assert one == other
    assert other["run"]["arguments"] == '["--quick"]'
    assert json.loads(str(other["run"]["counts"]))["files_checked"] == 3


def test_syncs_in_between_change_nothing_of_that(
    seen: Mirror, run: Command, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a sync brings is known to be right without a verification."""
    offer(simulator, "six", "3.0")
    assert run("sync", "--inline").code == 0
    capsys.readouterr()
    assert idle.attempt(VERIFY) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["files_checked"] == 4
    simulator.project("six").remove_release("1.0")
    assert run("sync", "--inline").code == 0
    assert idle.attempt(VERIFY) == 0
    assert run(*VERIFY).json["failures"] == []


def page(mirror: Mirror) -> Path:
    return mirror.root / "simple" / "six" / "index.html"


def file(mirror: Mirror) -> Path:
    return min((mirror.root / "packages" / "six").glob("*.whl"))


def rewrite(path: Path) -> None:
    """Write a file anew, with the same bytes: nobody can know that."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


TOUCHED: dict[str, Callable[[Mirror], object]] = {
    "a file is written again": lambda m: rewrite(file(m)),
    "a file is altered": lambda m: file(m).write_bytes(b"x"),
    "a file is lost": lambda m: file(m).unlink(),
    "core metadata is lost": lambda m: Path(f"{file(m)}{METADATA_SUFFIX}").unlink(),
    "a stranger is among the files": lambda m: (file(m).parent / "stranger").touch(),
    "a directory of strangers": lambda m: (
        (m.root / "packages/z").mkdir() or (m.root / "packages/z/z").touch()
    ),
    "a page is altered": lambda m: page(m).write_bytes(b"x"),
    "a page is lost": lambda m: page(m).unlink(),
    "a page too many": lambda m: (page(m).parent / "index.xml").touch(),
    "an older form of page": lambda m: (m.root / "pypi").mkdir() or (m.root / "pypi/x").touch(),
    "a root index that is altered": lambda m: (m.root / "simple/index.html").write_bytes(b""),
    "pages lost": lambda m: (m.root / "simple").rename(m.base / "moved"),
    "a file that nobody has seen": lambda m: disturb(m, "UPDATE files SET stamp = NULL"),
    "a page that nobody has seen": lambda m: disturb(m, "UPDATE projects SET page_stamp = NULL"),
    "a page to be rendered": lambda m: disturb(m, "UPDATE projects SET page_stale = 1"),
    "a project that goes": lambda m: disturb(m, "UPDATE projects SET removal_cause = 'upstream'"),
    "bytes that are not proven": lambda m: disturb(m, "UPDATE files SET state = 1"),
    "a file that is not held": lambda m: disturb(m, "UPDATE files SET state = 0"),
    "a state that is not known": lambda m: disturb(m, "UPDATE files SET state = 99"),
    "a root index that is stale": lambda m: disturb(
        m, "UPDATE marks SET value = 'stale' WHERE name = 'root index'"
    ),
    "a project to be listed anew": lambda m: disturb(m, "UPDATE projects SET root_entry_stale = 1"),
    "other forms of pages": lambda m: m.configure(publish={"formats": ["json"]}),
    "somebody has worked": work,
    "a lease": lambda m: disturb(m, "INSERT INTO leases VALUES ('run', '{}', 0)"),
    "no verification before": lambda m: disturb(m, "DELETE FROM runs WHERE command = 'verify'"),
    "one that found faults": lambda m: disturb(m, "UPDATE runs SET state = 'incomplete'"),
}


@pytest.mark.parametrize(
    "how",
    sample(TOUCHED, "bytes that are not proven", "somebody has worked", "one that found faults"),
)
def test_whatever_was_touched_is_left_to_a_whole_verification(seen: Mirror, how: str) -> None:
    TOUCHED[how](seen)
    before = seen.query("SELECT count(*) AS n FROM runs")[0]["n"]
    assert idle.attempt(VERIFY) is None
    assert seen.query("SELECT count(*) AS n FROM runs")[0]["n"] == before


@pytest.mark.thorough
@pytest.mark.parametrize("more", [("--repair",), ("--max-age", "7d"), ("--max-duration", "2h")])
def test_other_verifications_are_whole_ones(seen: Mirror, more: tuple[str, ...]) -> None:
    assert idle.attempt((*VERIFY, *more)) is None
    assert idle.attempt(("verify", *more)) is None


def test_a_mirror_of_very_many_files_is_checked_on_record(
    seen: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypimirror.catalog.queries.holdings.MOST", 2)
    assert idle.attempt(VERIFY) is None


# By hash


HASH = ("verify", "--json")


def test_every_byte_is_read_and_every_proof_renewed(
    seen: Mirror, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert idle.attempt(HASH) is None  # nobody has read them yet
    assert run(*HASH).code == 0
    capsys.readouterr()
    assert idle.attempt(HASH) == 0
    told = json.loads(capsys.readouterr().out)
    *_, whole, short = history(seen)
    assert short == whole
    assert told["counts"]["bytes_checked"] > 0
    proven = seen.query("SELECT DISTINCT proven_at FROM files")
    started = seen.query("SELECT max(started_at) AS at FROM runs")
    assert [row["proven_at"] for row in proven] == [started[0]["at"]]
    with closing(Catalog.open(seen.config.catalog_url)) as catalog, catalog.read() as connection:
        kept = statistics.last(connection)
        assert kept is not None
        counted = statistics.take(connection, kept.at)
    assert kept == msgspec.structs.replace(counted, took=kept.took)
    assert kept.oldest_proof == started[0]["at"]


def flip(path: Path) -> None:
    """Alter a byte and nothing else that can be seen, as a rotten disk does."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["file", "metadata", "page", "json page", "root index"])
def test_a_flipped_bit_is_seen(seen: Mirror, run: Command, what: str) -> None:
    assert run(*HASH).code == 0
    flip(
        {
            "file": file(seen),
            "metadata": Path(f"{file(seen)}{METADATA_SUFFIX}"),
            "page": page(seen),
            "json page": page(seen).with_name("index.v1_json"),
            "root index": seen.root / "simple" / "index.html",
        }[what]
    )
    assert idle.attempt(VERIFY) == 0  # by looks, nothing has happened
    assert idle.attempt(HASH) is None
    assert run(*HASH).code == 1


def test_a_slow_disk_and_a_large_mirror_are_read_on_record(
    seen: Mirror, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*HASH).code == 0
    with monkeypatch.context() as context:
        context.setattr("pypimirror.cli.untouched.MOST", 10)
        assert idle.attempt(HASH) is None
    with monkeypatch.context() as context:
        context.setattr("pypimirror.cli.untouched.PATIENCE", 0.0)
        assert idle.attempt(HASH) is None
    assert idle.attempt(HASH) == 0


def test_a_file_that_cannot_be_read_is_left_to_a_whole_verification(
    seen: Mirror, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*HASH).code == 0

    def broken(*_: object) -> bytes:
        raise OSError

    monkeypatch.setattr("pypimirror.cli.untouched.sha256_of", broken)
    assert idle.attempt(HASH) is None


def test_it_imports_next_to_nothing(seen: Mirror) -> None:
    script = (
        "import sys; sys.argv[1:] = ['verify', '--quick', '-q']\n"
        "from pypimirror import __main__\n"
        "try: __main__.main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=seen.base,
        env=isolated(PYTHONPATH=os.fspath(Path(__file__).parents[2])),
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stderr.split()) & LIGHT
