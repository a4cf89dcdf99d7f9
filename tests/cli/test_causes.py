"""What failed for one cause is told once, with the line that mends it and one that can be typed."""

from __future__ import annotations

import re

from pypimirror.cli.display import causes
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.simulator import Corrupt, Simulator, Status

HOSTS = "http://files.test is not a host of the upstream 'u'. Set: hosts = [\"files.test\"]"


def row(file: str, message: str, reason: str = "missing", project: str = "six") -> causes.Row:
    return "download", project, file, reason, message


def test_one_cause_is_told_once() -> None:
    names = [f"six-1.{n}.tar.gz" for n in range(141)]
    (told,) = causes.grouped(row(name, HOSTS, "host-not-allowed") for name in names)
    assert told.text == f"download: host-not-allowed: 141 files are not mirrored: {HOSTS}"
    assert told.names == "six-1.0.tar.gz, six-1.1.tar.gz, six-1.2.tar.gz and 138 more"


def test_what_differs_from_file_to_file_makes_no_other_cause() -> None:
    """Names, paths, sizes and digests do; hosts and statuses do not."""
    at = "http://a.test/packages/{}/{} is not there (status 404)."
    told = causes.grouped(
        [
            row("six-1.0.tar.gz", at.format("aa", "six-1.0.tar.gz")),
            row("idna-2.tar.gz", at.format("bb", "idna-2.tar.gz"), project="idna"),
            row("six-1.1.tar.gz", at.format("cc", "six-1.1.tar.gz").replace("404", "410")),
            row("six-1.2.tar.gz", at.format("dd", "six-1.2.tar.gz").replace("a.test", "b.test")),
            row("a.whl", f"a.whl: sha256 is {'1' * 64}, not {'2' * 64}", "digest-mismatch"),
            row("b.whl", f"b.whl: sha256 is {'3' * 64}, not {'4' * 64}", "digest-mismatch"),
        ]
    )
    assert [each.number for each in told] == [2, 1, 1, 2]
    assert told[0].text.endswith("(status 404). (This is the message of the first.)")
    assert told[3].names == "a.whl, b.whl"


def test_a_single_failure_is_told_as_it_is() -> None:
    (told,) = causes.grouped([row("", "it is not there", project="six")])
    assert (told.text, told.names) == ("download: missing: six: it is not there", "")


def test_a_host_that_is_not_allowed_is_told_with_the_line_that_allows_it(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    """What is told is done, and then the files are here."""
    files = [*offer(simulator, "six", "1.0", "1.1"), *offer(simulator, "idna", "3.0")]
    for file in files:
        file.set(url=simulator.root.replace("127.0.0.1", "localhost") + file.quoted_path)
    done = run("sync")
    assert done.code == 1
    assert done.out.count("hosts") == 1
    assert "3 files are not mirrored: http://localhost" in done.out
    mended = re.search(r"set in the \[\[upstream\]\] 'sim0': (hosts = .*)", done.out)
    assert mended is not None
    mirror.file.write_text(
        mirror.file.read_text().replace("[download]", f"{mended[1]}\n[download]")
    )
    assert run("sync").code == 0


def test_failures_of_a_run_are_told_by_cause_and_counted(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    for file in offer(simulator, "six", "1.0", "1.1"):
        simulator.fault(file, Status(404))
    simulator.fault(offer(simulator, "idna", "3.0")[0], Corrupt())
    done = run("sync")
    assert done.out.count("status 404") == 1
    assert done.out.count("digest-mismatch") == 1
    assert "all of them: pypimirror runs show last --failures" in done.out
    told = run("runs", "show", "last", "--failures").out
    assert told.count("status 404") == 2


def test_what_ends_a_run_tells_what_it_quotes() -> None:
    away = "The connection to http://a.test failed: Connection refused."
    rows = [
        ("discover", "six", "", "connection", away),
        ("discover", "idna", "", "connection", away),
        ("discover", "", "", "connection", f"no upstream answered: {away[:-1]}; check the network"),
        ("discover", "toml", "", "missing", "no upstream has it"),
    ]
    first, second = causes.grouped(rows)
    assert first.text.startswith("discover: connection: ") and "check the network" in first.text
    assert second.text == "discover: missing: toml: no upstream has it"
