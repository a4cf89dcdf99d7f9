"""Wheels: RECORD against the contents in both directions, METADATA against the file name."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest

from pypimirror.model import Reason
from pypimirror.verify.limits import Limits
from tests.corpus import build
from tests.verify.builders import PKG_INFO, STEM
from tests.verify.helpers import check, message

NAME = f"{STEM}-py3-none-any.whl"
INFORMATION = f"{STEM}.dist-info"
RECORD = f"{INFORMATION}/RECORD"
MODULE = "demo_pkg/__init__.py"
BODY = b"x = 1\n"


def contents() -> dict[str, bytes]:
    """A wheel without RECORD."""
    return {
        MODULE: BODY,
        f"{INFORMATION}/METADATA": PKG_INFO,
        f"{INFORMATION}/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
    }


def record_of(files: dict[str, bytes]) -> str:
    return "".join(build.record_line(name, data) for name, data in files.items())


def wheel(
    files: dict[str, bytes] | None = None,
    edit: Callable[[str], str] = str,
    last: str = f"{RECORD},,\n",
) -> bytes:
    """A wheel whose RECORD went through `edit`."""
    files = contents() if files is None else files
    record = edit(record_of(files)) + last
    return build.pack_zip({**files, RECORD: record.encode()})


def said(content: bytes) -> str:
    verdict = check(content, NAME)
    text = message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.BAD_ARCHIVE
    return text


def row(algorithm: str, data: bytes = BODY) -> str:
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
    return f"{MODULE},{algorithm}={digest},{len(data)}\n"


def with_row(line: str) -> bytes:
    rest = {name: data for name, data in contents().items() if name != MODULE}
    return wheel(edit=lambda _: line + record_of(rest))


def test_metadata_is_handed_on() -> None:
    verdict = check(wheel(), NAME)
    assert verdict.metadata == PKG_INFO
    assert (verdict.proof, verdict.entries) == ("structure", 4)


def test_record_may_come_first_and_not_list_itself() -> None:
    files = contents()
    record = record_of(files).encode()
    assert check(build.pack_zip({RECORD: record, **files}), NAME).problem is None


def test_record_with_carriage_returns_quotes_and_directories() -> None:
    files = {**contents(), 'demo_pkg/a,"b"': b"odd", "demo_pkg/": b""}

    def edit(record: str) -> str:
        record = record.replace('demo_pkg/a,"b"', '"demo_pkg/a,""b"""')
        lines = [line for line in record.splitlines() if not line.startswith("demo_pkg/,")]
        return "\r\n".join([*lines, "demo_pkg/,,", "", ""])

    assert check(wheel(files, edit), NAME).problem is None


@pytest.mark.parametrize("name", ["RECORD.jws", "RECORD.p7s"])
def test_signatures_need_not_be_listed(name: str) -> None:
    files = {**contents(), f"{INFORMATION}/{name}": b"signature"}
    listed = record_of(contents())
    assert check(wheel(files, lambda _: listed), NAME).problem is None
    assert "does not list" in said(wheel({**contents(), f"demo_pkg/{name}": b""}, lambda _: listed))


def test_listed_but_absent() -> None:
    line = build.record_line("demo_pkg/gone.py", b"")
    assert "'demo_pkg/gone.py' in its RECORD that it does not hold" in said(
        wheel(edit=lambda record: record + line)
    )


def test_present_but_not_listed() -> None:
    listed = record_of(contents())
    files = {**contents(), "demo_pkg/evil.py": b"", "demo_pkg/more.py": b""}
    assert "'demo_pkg/evil.py' and 1 more that its RECORD does not list" in said(
        wheel(files, lambda _: listed)
    )


def test_wrong_hash() -> None:
    assert "another hash" in said(with_row(row("sha256", b"x = 2\n")))
    last = contents() | {"zzz.py": b"1"}
    assert "another hash" in said(
        wheel(
            last,
            lambda record: record.replace(record_of({"zzz.py": b"1"}), record_of({"zzz.py": b"2"})),
        )
    )


def test_wrong_size() -> None:
    assert "of 6 bytes, where its RECORD says 60" in said(
        with_row(row("sha256").replace(",6\n", ",60\n"))
    )


def test_size_may_be_missing() -> None:
    assert check(with_row(row("sha256").replace(",6\n", ",\n")), NAME).problem is None


@pytest.mark.parametrize("algorithm", ["sha384", "sha512", "blake2b", "blake2s", "sha3_256"])
def test_better_algorithms_are_accepted(algorithm: str) -> None:
    assert check(with_row(row(algorithm)), NAME).problem is None
    assert "another hash" in said(with_row(row(algorithm, b"x = 2\n")))


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224"])
def test_weaker_algorithms_are_refused(algorithm: str) -> None:
    assert "weaker than sha256" in said(with_row(row(algorithm)))


@pytest.mark.parametrize(
    "line",
    [
        f"{MODULE}\n",
        f"{MODULE},sha256=x\n",
        f"{MODULE},sha256=x,6,more\n",
        f"{MODULE},sha256,6\n",
        f"{MODULE},nonsense=abc,6\n",
        f"{MODULE},sha256=abc,six\n",
        ",sha256=abc,6\n",
        f"{MODULE},sha256=,6\n",
        f"{MODULE},sha256=!!!,6\n",
        f"{MODULE},sha256=é,6\n",
        f"{MODULE},,\n",
        f"{MODULE},,6\n",
        '"' + "x" * 200_000 + "\n",
        "\0,,\n",
        f"{MODULE},sha256=abc,{'9' * 5000}\n",
    ],
)
def test_broken_rows_are_refused(line: str) -> None:
    said(with_row(line))


def test_record_that_is_not_utf8_is_refused() -> None:
    files = contents()
    assert "not UTF-8" in said(
        build.pack_zip({**files, RECORD: b"\xff\xfe" + record_of(files).encode()})
    )


def test_contradicting_rows_are_refused_and_repeated_ones_are_not() -> None:
    assert "twice" in said(wheel(edit=lambda record: record + row("sha512")))
    assert check(wheel(edit=lambda record: record + record), NAME).problem is None


@pytest.mark.parametrize("name", ["METADATA", "WHEEL"])
def test_without_its_files_it_is_no_wheel(name: str) -> None:
    files = contents()
    del files[f"{INFORMATION}/{name}"]
    assert f"has no {name}" in said(wheel(files))


def test_without_record_it_is_no_wheel() -> None:
    assert "has no RECORD" in said(build.pack_zip(contents()))


def test_without_directory_of_information_it_is_no_wheel() -> None:
    assert "has 0 directories" in said(build.pack_zip({MODULE: BODY}))


def test_two_directories_of_information_are_refused() -> None:
    assert "has 2 directories" in said(wheel({**contents(), "other-1.dist-info/METADATA": b""}))


def test_version_of_the_format() -> None:
    for body in (b"", b"Wheel-Version: 2.0\n", b"Wheel-Version: one\n"):
        assert "version 1" in said(wheel({**contents(), f"{INFORMATION}/WHEEL": body}))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (build.core_metadata("other", "1.2.0"), "names the project 'other'"),
        (build.core_metadata("demo-pkg", "1.2.1"), "names the version '1.2.1'"),
    ],
)
def test_metadata_of_another_project_is_refused(metadata: bytes, said: str) -> None:
    verdict = check(wheel({**contents(), f"{INFORMATION}/METADATA": metadata}), NAME)
    assert said in message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.WRONG_PROJECT


def test_directory_of_another_project_is_refused() -> None:
    files = {name.replace(STEM, "other-1.2.0"): data for name, data in contents().items()}
    record = record_of(files).encode()
    assert "another project's" in said(
        build.pack_zip({**files, "other-1.2.0.dist-info/RECORD": record})
    )


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"Name: demo-pkg\n",
        b"Version: 1.2.0\n",
        b"Name: \nVersion: 1.2.0\n",
        b"\xff" * 100,
        b"Name: demo-pkg\nName: other\nVersion: 1.2.0\n",
        b"\nName: demo-pkg\nVersion: 1.2.0\n\n"[1:2] * 3,
    ],
)
def test_metadata_without_name_and_version_is_refused(metadata: bytes) -> None:
    said(wheel({**contents(), f"{INFORMATION}/METADATA": metadata}))


@pytest.mark.parametrize("name", ["Demo.Pkg", "demo_pkg", "DEMO--PKG"])
@pytest.mark.parametrize("version", ["1.2.0", "1.2", "v1.2.0", "1.2.0.0"])
def test_spellings_of_name_and_version_are_alike(name: str, version: str) -> None:
    lines = ["Metadata-Version: 2.1", f"name:{name}", f"VERSION : {version}", "", "Name: evil"]
    metadata = "\r\n".join(lines).encode()
    assert check(wheel({**contents(), f"{INFORMATION}/METADATA": metadata}), NAME).problem is None


def test_large_metadata_is_too_large() -> None:
    verdict = check(wheel(), NAME, limits=Limits(max_metadata=20))
    message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.TOO_LARGE
