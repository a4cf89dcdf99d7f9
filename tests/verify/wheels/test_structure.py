"""Wheels: RECORD against the contents in both directions, METADATA against the file name."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Callable

import pytest

from pypimirror.domain.model import Reason
from pypimirror.verify.archives.limits import Limits
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


def partial(content: bytes) -> str:
    """What was not checked of a wheel that can be read to its end."""
    verdict = check(content, NAME)
    assert (verdict.problem, verdict.proof) == (None, "partial")
    return "; ".join(verdict.unchecked)


def spelt(spell: Callable[[str], str], files: dict[str, bytes] | None = None) -> bytes:
    """A wheel whose RECORD has all paths spelt otherwise, its own too."""
    files = contents() if files is None else files
    lines = "".join(build.record_line(spell(name), data) for name, data in files.items())
    return build.pack_zip({**files, RECORD: f"{lines}{spell(RECORD)},,\n".encode()})


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
        return "\r\n".join([*lines, "demo_pkg/,,", ""])

    assert check(wheel(files, edit), NAME).problem is None


@pytest.mark.parametrize("name", ["RECORD.jws", "RECORD.p7s"])
def test_signatures_need_not_be_listed(name: str) -> None:
    files = {**contents(), f"{INFORMATION}/{name}": b"signature"}
    listed = record_of(contents())
    assert check(wheel(files, lambda _: listed), NAME).proof == "structure"
    elsewhere = wheel({**contents(), f"demo_pkg/{name}": b""}, lambda _: listed)
    assert "does not list" in partial(elsewhere)


EMPTY = {"demo_pkg/": b"", f"{INFORMATION}/": b"", "demo_pkg/gone/": b""}


@pytest.mark.parametrize("there", [True, False], ids=["with entries", "without entries"])
def test_directories_may_be_listed_as_holding_nothing(there: bool) -> None:
    """bocpy 0.7.0 and meshlib 3.1.4 do so, and pip, uv and installer take it."""
    listed = record_of({**EMPTY, **contents()})
    files = {**EMPTY, **contents()} if there else contents()
    assert check(wheel(files, lambda _: listed), NAME).proof == "structure"


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        (build.record_line("demo_pkg", b""), True),
        ("demo_pkg/,md5=1B2M2Y8AsgTpgAmY7PhCfg,0\n", True),
        ("demo_pkg/,,0\n", True),
        (build.record_line("demo_pkg/", b"x"), False),
        ("demo_pkg/,,5\n", False),
        (build.record_line("demo_pkg/nothing", b""), False),
    ],
)
def test_a_directory_that_is_listed_holds_nothing(line: str, fine: bool) -> None:
    content = wheel(edit=lambda record: record + line)
    assert fine == (check(content, NAME).proof == "structure")


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: f"./{name}",
        lambda name: f"/{name}",
        lambda name: name.replace("/", "//"),
        lambda name: name.replace("/", "\\"),
        lambda name: f".\\{name}",
        lambda name: f'"{name}"',
        lambda name: name.replace("/", "/./"),
    ],
    ids=["./", "/", "//", "backslash", ".backslash", "quoted", "/./"],
)
def test_spellings_of_paths_in_record_mean_the_same(spell: Callable[[str], str]) -> None:
    """selenium 4.1.0 and catboost 1.0.4 have paths that begin with a slash."""
    assert check(spelt(spell), NAME).proof == "structure"
    lines = "".join(build.record_line(spell(name), b"other") for name in contents())
    wrong = build.pack_zip({**contents(), RECORD: f"{lines}{spell(RECORD)},,\n".encode()})
    assert "where its RECORD says 5" in said(wrong)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_letters_in_record_mean_the_same(forms: tuple[str, str]) -> None:
    there, listed = (unicodedata.normalize(form, "demo_pkg/café.py") for form in forms)
    record = record_of({**contents(), listed: b"x"})
    assert check(wheel({**contents(), there: b"x"}, lambda _: record), NAME).proof == "structure"
    assert "another hash" in said(wheel({**contents(), there: b"y"}, lambda _: record))
    both = {**contents(), there: b"x", listed: b"y"}
    assert check(wheel(both), NAME).proof == "structure"


def test_record_may_begin_with_a_byte_order_mark() -> None:
    assert check(wheel(edit=lambda record: f"\ufeff{record}"), NAME).proof == "structure"
    assert check(spelt(lambda name: f'"{name}"'), NAME).proof == "structure"


@pytest.mark.parametrize(
    "line", ["../../bin/x", "demo_pkg/../x", "C:/x", "/usr/share/x", "\\\\a\\x"]
)
def test_a_record_that_leads_out_of_the_wheel_is_refused_unless_released(line: str) -> None:
    """Nothing is written by it; pip and uv install such a wheel."""
    content = wheel(edit=lambda record: record + build.record_line(line, b""))
    assert "in its RECORD, which" in said(content)
    released = check(content, NAME, released=True)
    assert released.proof == "released"
    assert "in its RECORD, which" in released.unchecked[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: f"{record}\n",
        lambda record: f"\n{record}",
        lambda record: record.replace("\n", "\n\n", 1),
        lambda record: record.replace("\n", "\r\n") + "\r\n",
        lambda record: f"{record}\r\r",
    ],
)
def test_blank_lines_in_record_stop_pip_and_so_are_refused(edit: Callable[[str], str]) -> None:
    assert "blank line" in said(wheel(edit=edit))


CONTRADICTIONS: dict[str, Callable[[], bytes]] = {
    "another hash": lambda: with_row(row("sha256", b"x = 2\n")),
    "where its RECORD says": lambda: with_row(row("sha256").replace(",6\n", ",60\n")),
    "does not hold": lambda: wheel(edit=lambda r: r + build.record_line("demo_pkg/gone.py", b"")),
    "twice": lambda: wheel(edit=lambda record: record + row("sha512")),
    "as something with contents": lambda: wheel(edit=lambda r: r + "demo_pkg/,,5\n"),
}


@pytest.mark.parametrize("fault", CONTRADICTIONS)
def test_a_wheel_that_contradicts_itself_is_refused_unless_released(fault: str) -> None:
    content = CONTRADICTIONS[fault]()
    assert fault in said(content)
    verdict = check(content, NAME, released=True)
    assert (verdict.problem, verdict.proof) == (None, "released")
    assert fault in verdict.unchecked[0]
    assert verdict.metadata == PKG_INFO


def test_releasing_lets_nothing_in_that_is_not_whole_or_of_another_project() -> None:
    content = CONTRADICTIONS["another hash"]()
    for cut in (1, len(content) // 2, len(content) - 1):
        assert check(content[:cut], NAME, released=True).problem
    assert check(content, NAME.replace("1.2.0", "1.2.1"), released=True).problem
    assert check(wheel() + b"x", NAME, released=True).problem


def test_listed_but_absent() -> None:
    line = build.record_line("demo_pkg/gone.py", b"")
    assert "'demo_pkg/gone.py' in its RECORD that it does not hold" in said(
        wheel(edit=lambda record: record + line)
    )


def test_what_record_does_not_list_is_told_as_unchecked() -> None:
    """pip, uv and installer take it, and the zip has a checksum of it (FMPy 0.3.15)."""
    listed = record_of(contents())
    files = {**contents(), "demo_pkg/extra.so": b"", "demo_pkg/more.py": b""}
    assert "'demo_pkg/extra.so' and 1 more that its RECORD does not list" in partial(
        wheel(files, lambda _: listed)
    )
    assert "and 2 more that its RECORD does not list" in partial(wheel(edit=lambda _: "", last=""))


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
def test_weaker_algorithms_are_told_as_unchecked_and_must_hold(algorithm: str) -> None:
    assert "sha256 or better is asked for" in partial(with_row(row(algorithm)))
    assert "another hash" in said(with_row(row(algorithm, b"x = 2\n")))


def test_no_hash_and_a_hash_of_itself_are_told_as_unchecked() -> None:
    assert "without a hash" in partial(with_row(f"{MODULE},,\n"))
    assert "without a hash" in partial(with_row(f"{MODULE},,6\n"))
    assert "of 6 bytes, where its RECORD says 7" in said(with_row(f"{MODULE},,7\n"))
    own = build.record_line(RECORD, b"what was it")
    assert "a hash of itself, which is impossible" in partial(wheel(last=own))


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
    good = b"Wheel-Version: 1.0\n"
    for body in (b"", b"Wheel-Version: 2.0\n", b"Wheel-Version: one\n", *hidden(good)):
        assert "version 1" in said(wheel({**contents(), f"{INFORMATION}/WHEEL": body}))
    for version in (b"1.9", b"1", b"1.0.0", b"01.0"):  # pip or uv installs each of these
        body = b"Wheel-Version: %s\n" % version
        assert check(wheel({**contents(), f"{INFORMATION}/WHEEL": body}), NAME).proof == "structure"


def test_a_wheel_file_that_no_installer_can_decode_is_refused() -> None:
    body = b"Wheel-Version: 1.0\nGenerator: caf\xe9\n"
    assert "not UTF-8" in said(wheel({**contents(), f"{INFORMATION}/WHEEL": body}))


@pytest.mark.parametrize("path", ["nonsense/x", "x", "lib/purelib/x"])
def test_data_that_installers_know_no_place_for_is_refused(path: str) -> None:
    assert "no place" in said(wheel({**contents(), f"{STEM}.data/{path}": b"x"}))


@pytest.mark.parametrize("scheme", ["data", "headers", "platlib", "purelib", "scripts"])
def test_data_of_the_known_schemes_is_accepted(scheme: str) -> None:
    assert check(wheel({**contents(), f"{STEM}.data/{scheme}/x": b"x"}), NAME).proof == "structure"


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


def hidden(content: bytes) -> list[bytes]:
    """Fields that no installer finds, since something that is no header stands in front."""
    fronts = (b"\xef\xbb\xbf", b"\n", b"\r\n", b"\r", b"\0", b"\x0c\n", b"garbage\n", b"A b: c\n")
    return [front + content for front in fronts]


@pytest.mark.parametrize(
    "metadata",
    [
        *hidden(b"Name: demo-pkg\nVersion: 1.2.0\n"),
        b"Metadata-Version: 2.1\nNo header\nName: demo-pkg\nVersion: 1.2.0\n",
        b"Name : demo-pkg\nVersion: 1.2.0\n",
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
    lines = ["Metadata-Version: 2.1", f"name:{name}", f"VERSION: {version}", "", "Name: evil"]
    metadata = "\r\n".join(lines).encode()
    assert check(wheel({**contents(), f"{INFORMATION}/METADATA": metadata}), NAME).problem is None


def test_large_metadata_is_too_large() -> None:
    verdict = check(wheel(), NAME, limits=Limits(max_metadata=20))
    message(verdict)
    assert verdict.problem
    assert verdict.problem.reason is Reason.TOO_LARGE
