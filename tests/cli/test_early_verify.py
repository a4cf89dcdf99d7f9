"""A verification has files hashed ahead while it imports modules. It finds what it always finds."""

from __future__ import annotations

import select
from functools import partial

import pytest

from pypimirror.cli import early_verify, plain
from pypimirror.domain.model import Reason
from pypimirror.pipeline.audit.audit import Options, audit
from pypimirror.pipeline.lifecycle import sync
from pypimirror.pipeline.sequence import repair
from pypimirror.system import children
from tests.mirror import Mirror, offer, reasons
from tests.simulator import Simulator

MODULE = "pypimirror.verify.hash_worker"


def begin(mirror: Mirror) -> None:
    """Begin early, and wait until all files are hashed."""
    early_verify.begin(mirror.config)
    assert select.select([children._early[MODULE].stdout], [], [], 30)[0]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_damage_is_found_whenever_it_happens(
    mirror: Mirror, simulator: Simulator, moment: str
) -> None:
    held = offer(simulator, "six", *(f"{number}.0" for number in range(5)))
    mirror.sync()
    if moment == "after":
        begin(mirror)
    bad, gone, bare = (mirror.path(file) for file in held[1:4])
    bad.write_bytes(bad.read_bytes()[:-1] + b"?")
    gone.unlink()
    bare.with_name(f"{bare.name}.metadata").write_bytes(b"?")
    if moment == "before":
        begin(mirror)
    work = partial(audit, options=Options(), repair=repair)
    found = sync(mirror.config, (), work, trigger="test", command="verify")
    assert reasons(found.failures) == {
        held[1].filename: Reason.DIGEST_MISMATCH,
        held[2].filename: Reason.LOST,
        held[3].filename: Reason.METADATA_MISMATCH,
    }
    assert not children._early, "its answers were taken over"


@pytest.mark.parametrize(
    ("arguments", "starts"), [((), True), (("--quick",), False), (("--repair",), False)]
)
def test_only_what_reads_all_files_begins_early(
    mirror: Mirror, arguments: tuple[str, ...], starts: bool
) -> None:
    plain.command(["verify", "--config", str(mirror.file), *arguments])
    assert (MODULE in children._early) is starts


def test_nothing_begins_early_for_a_mirror_in_a_bucket(mirror: Mirror) -> None:
    mirror.configure(mirror={"storage": "s3://bucket/prefix"})
    early_verify.begin(mirror.config)
    assert not children._early
