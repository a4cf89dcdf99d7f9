"""Which file is read as which lock, and what is no file that can be one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypimirror.select.locks import documents, registry
from pypimirror.select.locks.lock import UnreadableLockError


def fault(path: Path) -> str:
    with pytest.raises(UnreadableLockError) as raised:
        registry.read(path)
    return str(raised.value).replace(f"{path.parent}/", "")


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert fault(tmp_path / "uv.lock").startswith("uv.lock: there is no such file")


def test_a_directory_is_none(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").mkdir()
    assert (
        fault(tmp_path / "uv.lock") == "uv.lock: is a directory and no file; name the lock itself"
    )


def test_nobody_waits_for_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "uv.lock")
    assert "is a FIFO and no file" in fault(tmp_path / "uv.lock")


def test_one_of_50_megabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "uv.lock").open("wb") as file:
        file.truncate(50 << 20)
    said = fault(tmp_path / "uv.lock")
    assert said == f"uv.lock: cannot be read: has more than {documents.MOST} bytes"


def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_bytes(b"version = 1\n# \xe9\n")
    assert fault(tmp_path / "uv.lock").startswith(
        "uv.lock:2: has the byte 0xe9, which is not UTF-8"
    )


def test_a_mark_of_windows_editors_is_no_harm(tmp_path: Path) -> None:
    text = 'version = 1\r\n[[package]]\r\nname = "a"\r\nsource = { virtual = "." }\r\n'
    (tmp_path / "uv.lock").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert registry.read(tmp_path / "uv.lock").releases == ()
