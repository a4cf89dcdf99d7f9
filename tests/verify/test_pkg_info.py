"""PKG-INFO is found in sdists, at a bounded cost, also in hostile ones."""

from __future__ import annotations

import io
import tarfile

import pytest

from pypimirror.domain.metadata import summary
from pypimirror.verify import pkg_info
from tests.corpus.build import make_sdist
from tests.corpus.fetch import CORPUS


def tar(**contents: bytes) -> bytes:
    """A tar archive, packed by gzip, with "__" in names for "/"."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name.replace("__", "/").replace("PKG_INFO", "PKG-INFO"))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def test_real_sdists_say_what_they_are() -> None:
    paths = sorted(CORPUS.glob("*.tar.gz"))
    assert paths
    for path in paths:
        found = pkg_info.find(path.read_bytes(), path.name)
        assert found is not None, path.name
        assert summary.of(found).text, path.name


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_it_is_found_in_each_kind(suffix: str) -> None:
    filename, body = make_sdist("six", "1.0", suffix=suffix, summary="Here")
    found = pkg_info.find(body, filename)
    assert found is not None
    assert summary.of(found).text == "Here"


def test_one_at_the_top_counts_and_one_farther_down_does_not() -> None:
    assert pkg_info.find(tar(PKG_INFO=b"top"), "six-1.0.tar.gz") == b"top"
    assert pkg_info.find(tar(six__six_egg__PKG_INFO=b"deep"), "six-1.0.tar.gz") is None


def test_no_more_is_unpacked_than_allowed() -> None:
    bomb = tar(six__zeros=bytes(17 << 20), six__PKG_INFO=b"far")
    assert len(bomb) < 100_000
    assert pkg_info.find(bomb, "six-1.0.tar.gz") is None
    near = tar(six__PKG_INFO=b"near", six__zeros=bytes(17 << 20))
    assert pkg_info.find(near, "six-1.0.tar.gz") == b"near"
    assert pkg_info.find(tar(six__PKG_INFO=bytes(3 << 20)), "six-1.0.tar.gz") is None


@pytest.mark.parametrize("body", [b"", b"no archive", make_sdist("six", "1.0")[1][:200]])
def test_what_cannot_be_read_says_nothing(body: bytes) -> None:
    assert pkg_info.find(body, "six-1.0.tar.gz") is None


def test_other_files_are_not_looked_into() -> None:
    assert pkg_info.find(make_sdist("six", "1.0", suffix=".zip")[1], "six-1.0.whl") is None
