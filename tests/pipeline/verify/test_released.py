"""One way in for each file that installers take and that cannot be proven: its very bytes are
released by the operator, which is recorded and told; never against a digest."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.domain.model import Reason
from pypimirror.pipeline.verify import quarantine
from pypimirror.storage.workspace import Workspace
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, reasons
from tests.pipeline.audit.test_audit import verify
from tests.pipeline.verify.test_quarantine import release
from tests.sampling import sample
from tests.simulator import Simulator

Edit = Callable[[str, bytes], bytes]
NONE: dict[str, Any] = {"digests": None, "size": None}
MD5: dict[str, Any] = {"digests": ("md5",)}


def sloppy(edit: Edit, **more: bytes) -> tuple[str, bytes]:
    """A wheel whose members went through `edit`, and with more of them."""
    name, content = make_wheel("six", "1.0")
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for member in old.namelist():
            new.writestr(member, edit(member, old.read(member)))
        for member, data in more.items():
            new.writestr(member, data)
    return name, made.getvalue()


def in_record(before: bytes) -> Edit:
    """Edit RECORD: put lines in front."""
    return lambda name, data: before + data if name.endswith("/RECORD") else data


def other_module(name: str, data: bytes) -> bytes:
    return data + b"# edited after RECORD was written\n" if name.endswith(".py") else data


def digest_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


SLOPPY = {
    "a member differs": sloppy(other_module),
    "RECORD has a path from the root": sloppy(in_record(b"/usr/share/x,,\n")),
    "RECORD climbs out": sloppy(in_record(b"../../bin/six,,\n")),
    "RECORD has what is not there": sloppy(in_record(b"gone.py,sha256=x,1\n")),
    "RECORD has a line that is no row": sloppy(in_record(b"six.py\n")),
    "RECORD has a hash that is none": sloppy(in_record(b"six2.py,sha256,1\n")),
}


def level(mirror: Mirror) -> int:
    (row,) = mirror.query("SELECT proof FROM files")
    return int(row["proof"])


@pytest.mark.parametrize("said", [NONE, MD5], ids=["none", "md5"])
@pytest.mark.parametrize("fault", sample(SLOPPY, *list(SLOPPY)[:2]))
def test_a_wheel_that_contradicts_itself_comes_in_once_it_is_released(
    mirror: Mirror, simulator: Simulator, fault: str, said: dict[str, Any]
) -> None:
    name, content = SLOPPY[fault]
    file = simulator.add_file("six", name, content, **said)
    first = mirror.sync()
    assert reasons(first.failures) == {name: Reason.BAD_ARCHIVE}
    assert f"pypimirror quarantine release {name}" in first.failures[0].message
    mirror.configure(verify={"accept": "partial"})
    assert mirror.sync().state == "incomplete", "which is no way in for it"
    assert release(mirror, name)
    assert mirror.sync().state == "completed"
    assert mirror.holds(file)
    assert mirror.sync().state == "completed"
    assert level(mirror) == 5


def test_it_stays_whatever_is_accepted(mirror: Mirror, simulator: Simulator) -> None:
    name, content = SLOPPY["a member differs"]
    simulator.add_file("six", name, content, **NONE)
    mirror.sync()
    release(mirror, name)
    for accept in ("structure", "digest", "partial"):
        mirror.configure(verify={"accept": accept})
        assert mirror.sync().state == "completed"
        assert mirror.files("six") == [name]
    assert verify(mirror).state == "completed"


@pytest.mark.parametrize("fault", ["truncated", "another project"])
def test_what_nobody_can_install_is_not_let_in(
    mirror: Mirror, simulator: Simulator, fault: str
) -> None:
    name, content = SLOPPY["a member differs"]
    content = content[:-30] if fault == "truncated" else content.replace(b"Name: six", b"Name: sux")
    simulator.add_file("six", name, content, **NONE)
    mirror.sync()
    assert release(mirror, name)
    assert name in reasons(mirror.sync().failures)
    assert mirror.files("six") == []


def test_other_bytes_of_the_same_name_are_not_let_in(mirror: Mirror, simulator: Simulator) -> None:
    name, content = SLOPPY["a member differs"]
    file = simulator.add_file("six", name, content, **NONE)
    mirror.sync()
    assert release(mirror, name)
    assert mirror.sync().state == "completed"
    file.replace(sloppy(in_record(b"gone.py,,\n"))[1])
    file.set(digests={}, size=None)
    mirror.path(file).unlink()
    verify(mirror, repair=True)
    assert mirror.files("six") == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_digest_that_contradicts_wins_over_a_release(
    mirror: Mirror, simulator: Simulator, when: str
) -> None:
    name, content = SLOPPY["a member differs"]
    file = simulator.add_file("six", name, content, **NONE)
    mirror.sync()
    other = {"digests": {"sha256": hashlib.sha256(b"other").hexdigest()}}
    if when == "before":
        file.set(**other)
    assert release(mirror, name)
    mirror.sync()
    if when == "after":
        file.set(**other)
        mirror.sync()
    assert mirror.files("six") == []


def test_a_digest_that_agrees_is_a_better_proof(mirror: Mirror, simulator: Simulator) -> None:
    name, content = SLOPPY["a member differs"]
    file = simulator.add_file("six", name, content, **NONE)
    mirror.sync()
    release(mirror, name)
    mirror.sync()
    file.set(digests={"sha256": file.sha256})
    mirror.sync()
    assert level(mirror) == 1


def test_a_file_that_is_proven_in_part_is_released_by_itself(
    mirror: Mirror, simulator: Simulator
) -> None:
    """`accept = "partial"` would let in all such files."""
    name, content = sloppy(lambda _, data: data, extra=b"not in RECORD")
    file = simulator.add_file("six", name, content, **NONE)
    result = mirror.sync()
    assert reasons(result.failures) == {name: Reason.NO_PROOF}
    assert f"quarantine release {name}" in result.failures[0].message
    catalog = Catalog.open(mirror.config.catalog_url)
    assert quarantine.let_in(catalog, Workspace(mirror.root), "other.whl") is None
    assert quarantine.let_in(catalog, Workspace(mirror.root), name) == file.sha256
    catalog.close()
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [name]
    assert level(mirror) == 5
