"""What keeps pip and uv from installing a wheel, by its entry points: what both refuse, we do.

The tables are what pip 26.3 and uv 0.13.9 did with such wheels.
"""

from __future__ import annotations

import time
from importlib.metadata import Distribution
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pip._vendor.distlib import DistlibException
from pip._vendor.distlib.util import get_export_entry

from pypimirror.verify.wheels import entry_points
from tests.verify.helpers import check
from tests.verify.wheels.test_structure import INFORMATION, NAME, contents, said, wheel

BOTH = {
    "plain": b"[console_scripts]\ndemo = demo:main\n",
    "other_only": b"[my.group]\ndemo = demo:main\n",
    "bad_ref_other": b"[my.group]\ndemo = !!! ###\n",
    "bad_ref_digits": b"[console_scripts]\ndemo = 1demo:main\n",
    "extras": b"[console_scripts]\ndemo = demo:main [x,y]\n",
    "indent": b"[console_scripts]\n    demo = demo:main\n",
    "cr_only": b"[console_scripts]\rdemo = demo:main\r",
    "crlf": b"[console_scripts]\r\ndemo = demo:main\r\n",
    "empty": b"",
    "blank": b"\n\n",
    "percent_other": b"[my.group]\ndemo = %(x)s\n",
    "name_space": b"[console_scripts]\na b = demo:main\n",
    "default_sec": b"[DEFAULT]\nx = y:z\n[console_scripts]\ndemo = demo:main\n",
    "section_spaces": b"[ console_scripts ]\ndemo = demo:main\n",
    "nul_other": b"[my.group]\nx = a\x00:b\n",
    "section_trailing": b"[console_scripts] x\ndemo = demo:main\n",
    "unicode_ref": b"[console_scripts]\ndemo = d\xc3\xa9mo:main\n",
    "hash_comment": b"# top\n[console_scripts]\n# hello\ndemo = demo:main\n",
    "upper_section": b"[Console_Scripts]\ndemo = demo\n",
    "gui_ok": b"[gui_scripts]\ndemo = demo:main\n",
    "ff_line": b"[console_scripts]\ndemo = demo:main\n\x0c\n",
    "pip_special": b"[console_scripts]\npip = demo:main\n",
    "main_dots": b"[console_scripts]\ndemo = demo:Main.run\n",
    "blank_in": b"[console_scripts]\n\n\ndemo = demo:main\n\n[x]\n\n",
    "section_comment": b"[console_scripts] # c\ndemo = demo:main\n",
    "dup_case": b"[console_scripts]\nDemo = demo:main\ndemo = demo:main\n",
    "bom_in": b"[my.group]\n\xef\xbb\xbfdemo = demo:main\n",
}
PIP_ALONE = {
    "text_no_section": b"hello world\n",
    "pair_no_section": b"a = b:c\n",
    "dup_section": b"[console_scripts]\ndemo = demo:main\n[console_scripts]\ndemo2 = demo:main\n",
    "dup_section_other": b"[my.group]\na = demo:main\n[my.group]\nb = demo:main\n",
    "dup_option": b"[console_scripts]\ndemo = demo:main\ndemo = demo:other\n",
    "dup_option_other": b"[my.group]\ndemo = demo:main\ndemo = demo:other\n",
    "bom": b"\xef\xbb\xbf[console_scripts]\ndemo = demo:main\n",
    "bom_other": b"\xef\xbb\xbf[my.group]\ndemo = demo:main\n",
    "unclosed_section": b"[console_scripts\ndemo = demo:main\n",
    "inline_comment": b"[console_scripts]\ndemo = demo:main ; c\n",
    "inline_comment_hash": b"[console_scripts]\ndemo = demo:main # c\n",
    "name_slash": b"[console_scripts]\na/b = demo:main\n",
    "empty_name": b"[console_scripts]\n = demo:main\n",
    "eq_only": b"[my.group]\n=\n",
    "text_before": b"hello\n[console_scripts]\ndemo = demo:main\n",
    "empty_section": b"[]\ndemo = demo:main\n",
    "parens": b"[console_scripts]\ndemo = demo:main()\n",
    "cont_eq": b"[console_scripts]\ndemo = demo:main\n   more = demo:main\n",
}
UV_ALONE = {
    "dash_module": b"[console_scripts]\ndemo = a-b:main\n",
    "spaces_colon": b"[console_scripts]\ndemo = demo : main\n",
    "bad_extra": b"[console_scripts]\ndemo = demo:main [x y]\n",
    "semi_comment": b"[console_scripts]\n; hello\ndemo = demo:main\n",
    "semi_comment_other": b"[my.group]\n; hello\ndemo = demo:main\n",
    "cont_other": b"[my.group]\ndemo = demo:main\n   more\n",
    "dot_only": b"[console_scripts]\ndemo = .:main\n",
    "lead_dot": b"[console_scripts]\ndemo = .demo:main\n",
    "trail_dot": b"[console_scripts]\ndemo = demo.:main\n",
    "name_bracket": b"[console_scripts]\n[a = demo:main\n",
    "name_bracket2": b"[console_scripts]\n[a] = demo:main\n",
    "vt_split": b"[my.group]\na = b\x0bcc\n",
    "nel_split": b"[my.group]\na = b\xe2\x80\xa8cc\n",
}
NEITHER = {
    "garbage": b"\x00\xff\xfe garbage",
    "latin1_comment": b"# caf\xe9\n[console_scripts]\ndemo = demo:main\n",
    "latin1_othergroup": b"[my.group]\ncaf\xe9 = demo:main\n",
    "line_without_equals": b"[console_scripts]\ndemo\n",
    "line_without_equals_other": b"[my.group]\ndemo\n",
    "colon_delim": b"[console_scripts]\ndemo: demo:main\n",
    "utf16": "[console_scripts]\ndemo = demo:main\n".encode("utf-16"),
    "bad_ref_space": b"[console_scripts]\ndemo = demo main\n",
    "bad_ref_nocolon": b"[console_scripts]\ndemo = demo\n",
    "bad_ref_empty": b"[console_scripts]\ndemo =\n",
    "bad_ref_emptyattr": b"[console_scripts]\ndemo = demo:\n",
    "indent_cont": b"[console_scripts]\ndemo = demo:main\n   more\n",
    "percent": b"[console_scripts]\ndemo = demo:%main\n",
    "name_updir": b"[console_scripts]\n../b = demo:main\n",
    "gui_bad": b"[gui_scripts]\ndemo\n",
    "nul": b"[console_scripts]\ndemo = demo:main\n\x00\n",
    "ctrlZ": b"[console_scripts]\ndemo = demo:main\n\x1a",
    "two_colons": b"[console_scripts]\ndemo = demo:main:x\n",
    "open_extra": b"[console_scripts]\ndemo = demo:main [x\n",
    "open_section_in": b"[my.group]\na = b\n[x\n",
    "slash_ref": b"[console_scripts]\ndemo = demo/x:main\n",
    "colon_only": b"[console_scripts]\ndemo = :main\n",
    "name_dot": b"[console_scripts]\n. = demo:main\n",
    "name_abs": b"[console_scripts]\n/tmp/h1ep/abs = demo:main\n",
    "name_long": b"[console_scripts]\n" + b"a" * 300 + b" = demo:main\n",
    "name_nul": b"[console_scripts]\na\x00b = demo:main\n",
    "gui_bad_ref": b"[gui_scripts]\ndemo = demo\n",
    "surrogate_utf8": b"[my.group]\na = \xed\xa0\x80\n",
    "value_bracket_only": b"[console_scripts]\ndemo = [x]\n",
}


def of(table: dict[str, bytes]) -> Any:
    return pytest.mark.parametrize("content", table.values(), ids=list(table))


@of(NEITHER)
def test_what_no_installer_installs_is_refused(content: bytes) -> None:
    assert entry_points.fault(content)


@of(BOTH | PIP_ALONE | UV_ALONE)
def test_what_one_installer_installs_passes(content: bytes) -> None:
    assert entry_points.fault(content) is None


def test_a_wheel_is_refused_with_the_line_that_is_at_fault() -> None:
    bad, good = (
        wheel({**contents(), f"{INFORMATION}/entry_points.txt": content})
        for content in (b"[my.group]\n\ndemo\n", b"\xef\xbb\xbf[console_scripts]\na = b:c\n")
    )
    assert "entry_points.txt that has a line 3 that is neither" in said(bad)
    assert check(good, NAME).proof == "structure"


def test_what_is_too_long_to_be_judged_passes_at_once() -> None:
    assert entry_points.fault(b"[console_scripts]\n" + b"a" * 900_000) is None
    started = time.process_time()
    lines = (f"{number:0490d} = !\n" for number in range(130))
    assert entry_points.fault(f"[console_scripts]\n{''.join(lines)}".encode())
    assert time.process_time() - started < 5


class Installed(Distribution):
    """What pip asks for the entry points of a wheel."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "entry_points.txt" else None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


def is_read_by_pip(text: str) -> bool:
    try:
        found = list(Installed(text).entry_points)
        scripts = {
            (e.group, e.name): e.value
            for e in found
            if e.group in ("console_scripts", "gui_scripts")
        }
        entries = [get_export_entry(f"{name} = {value}") for (_, name), value in scripts.items()]
    except (TypeError, DistlibException):
        return False
    return all(entry is not None and entry.suffix is not None for entry in entries)


PIECES = st.sampled_from(
    ["[", "]", "=", ":", ";", "#", " ", "\n", "\r", "a", "b.c", "[console_scripts]\n", "a = b:c\n",
     "[x]\n", "[gui_scripts]\n", "\ufeff", "\x0b", "-", "(", "[e]", "d = e:f [g]\n"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_pip_reads_is_read_as_pip_does(text: str) -> None:
    if not any(" is no name" in each for each in entry_points._pip_faults(text)):
        assert is_read_by_pip(text) == (next(entry_points._pip_faults(text), None) is None)
