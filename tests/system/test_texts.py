"""Text files of people: pip's rules on encodings, held against pip's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.bandersnatch.translate import translate
from pypimirror.config.settings import ConfigError, load
from pypimirror.pipeline.preview import execute_plan
from pypimirror.select.selection import Selection
from pypimirror.system import texts

READABLE = {
    "utf-8": "six\n# ł\n".encode(),
    "utf-8 with a mark": "six\n# ł\n".encode("utf-8-sig"),
    "utf-16 of this machine": "six\r\n# ł\r\n".encode("utf-16"),
    "utf-16 of the other kind": b"\xfe\xff" + "six\r\n".encode("utf-16-be"),
    "utf-32": "six\n".encode("utf-32"),
    "coding line": "# -*- coding: latin-1 -*-\n# Ä\nsix\n".encode("latin-1"),
    "coding in the second line": "# a list\n# vim: set fileencoding=cp1252 :\nsix  # „\n".encode(
        "cp1252"
    ),
}


@pytest.mark.parametrize("data", READABLE.values(), ids=READABLE)
def test_lists_and_configurations_are_read_in_every_encoding_that_pip_reads(
    tmp_path: Path, data: bytes
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(data)
    file = tmp_path / "pypimirror.toml"
    for entry in ("-r list.txt", "@list.txt"):
        file.write_text(f'[select]\nprojects = ["{entry}"]\n')
        (found,) = Selection(load(file)).named
        assert found == "six"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_configurations_and_plans_are_read_as_windows_writes_them(
    tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "pypimirror.toml"
    file.write_bytes('[select]\nprojects = ["six"]\n'.encode(encoding))
    assert load(file).select.projects == ("six",)
    plan = tmp_path / "plan.json"
    empty = '"fetch":[],"publish":[],"withdraw":[],"remove":[]'
    plan.write_bytes(f'{{"version":1,"projects":["six"],{empty}}}'.encode(encoding))
    assert execute_plan.read(plan).projects == ["six"]
    (tmp_path / "tree" / "simple").mkdir(parents=True)
    conf = tmp_path / "bandersnatch.conf"
    conf.write_bytes(f"[mirror]\ndirectory = {tmp_path / 'tree'}\n".encode(encoding))
    assert translate(conf).options[0].option == "directory"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"six\n\xff\n", "line 2 has the byte 0xff, which is not utf-8; save it as UTF-8"),
        (b"# coding: nonsense\n", "its coding line says 'nonsense', which is not an encoding"),
        (b"# coding: base64\n", "its coding line says 'base64', which is not an encoding"),
        (b"# coding: undefined\n", "it is not undefined: undefined encoding"),
        (b"\xff\xfes", "line 1 has the byte 0x73, which is not utf-16-le; save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_told_with_line_and_remedy(
    tmp_path: Path, data: bytes, message: str
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(data)
    file = tmp_path / "pypimirror.toml"
    for entry in ("-r list.txt", "@list.txt"):
        file.write_text(f'[select]\nprojects = ["{entry}"]\n')
        with pytest.raises(ConfigError) as caught:
            Selection(load(file))
        assert f"{listed}: {message}" in str(caught.value)


def test_a_file_without_mark_or_coding_line_is_in_the_locale_s_encoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with pip; the locale of who wrote it is most likely that of who reads it."""
    monkeypatch.setattr("locale.getencoding", lambda: "ISO-8859-1")
    assert texts.decode("# Änderung\nsix\n".encode("latin-1")) == "# Änderung\nsix\n"
