"""A mirror in a bucket is proven, mended and taken over, as one in a directory is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.domain.model import Reason
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit import audit
from pypimirror.pipeline.download.adopt import adopt
from pypimirror.pipeline.lifecycle import sync
from pypimirror.pipeline.summary import Summary
from pypimirror.pipeline.verify import quarantine
from pypimirror.storage.workspace import Workspace
from tests import buckets
from tests.mirror import attest, offer
from tests.pools import inline
from tests.simulator import Simulator
from tests.storage.s3.mirrors import InBucket

pytestmark = pytest.mark.usefixtures("keys_of_the_bucket")


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, seaweed: buckets.Server) -> InBucket:
    """A mirror of two files, both with core metadata, one with attestations."""
    made = InBucket(tmp_path, simulator, seaweed.bucket())
    attest(offer(simulator, "six", "1.0")[0])
    offer(simulator, "idna", "2.0")
    made.mirror.configure(publish={"changes": str(tmp_path / "changes")})
    assert made.sync().state == "completed"
    simulator.forget()
    return made


def verify(mirror: InBucket, **options: bool) -> Summary:
    """Verify, in this process."""
    asked = audit.Options(**options)
    return sync(
        mirror.mirror.config,
        (),
        lambda run: audit.audit(run, asked, sequence.repair),
        trigger="test",
        command="verify",
        make_pools=inline,
    )


def test_what_is_lost_or_changed_in_a_bucket_is_found_and_mended(
    mirror: InBucket, simulator: Simulator, tmp_path: Path
) -> None:
    for quick in (True, False):
        found = verify(mirror, quick=quick)
        assert (found.state, bool(found.counts["bytes_checked"])) == ("completed", not quick)
    bucket, store = mirror.bucket, buckets.client(mirror.bucket.endpoint)
    six, idna = "six-1.0-py3-none-any.whl", "idna-2.0-py3-none-any.whl"
    store.put_object(Bucket=bucket.name, Key=bucket.key(f"packages/idna/{idna}"), Body=b"bad")
    store.delete_object(Bucket=bucket.name, Key=bucket.key(f"packages/six/{six}.provenance"))
    store.put_object(Bucket=bucket.name, Key=bucket.key("packages/six/foreign"), Body=b"x")
    wrong = {
        idna: Reason.TRUNCATED,
        six: Reason.PROVENANCE_MISMATCH,
        "packages/six/foreign": Reason.FOREIGN,
    }
    for quick in (True, False):
        assert {p.file: p.reason for p in verify(mirror, quick=quick).failures} == wrong
    assert {p.reason for p in verify(mirror, repair=True).failures} == {Reason.FOREIGN}
    (entry,) = quarantine.entries(Workspace(mirror.mirror.root))
    assert (entry.file, entry.host) == (idna, quarantine.this_machine().host)
    assert simulator.downloads(six) == 0
    assert f"packages/idna/{idna}" in (tmp_path / "changes").read_text().splitlines()
    store.delete_object(Bucket=bucket.name, Key=bucket.key("packages/six/foreign"))
    assert verify(mirror).state == "completed"
    assert mirror.faults() == []
    # Whoever puts an object by hand stores no digest with it.
    store.put_object(Bucket=bucket.name, Key=bucket.key(f"packages/six/{six}.metadata"), Body=b"x")
    for quick in (True, False):
        (problem,) = verify(mirror, quick=quick).failures
        assert (problem.file, problem.reason) == (six, Reason.METADATA_MISMATCH)


def test_a_lost_catalog_is_made_again_from_what_is_in_the_bucket(
    mirror: InBucket, simulator: Simulator
) -> None:
    content = mirror.content()
    mirror.mirror.lose_catalog()
    adopted = sync(
        mirror.mirror.config,
        (),
        lambda run: adopt(run, sequence.sync),
        trigger="test",
        command="adopt",
        make_pools=inline,
    )
    assert (adopted.state, adopted.counts["files_reused"]) == ("completed", 2), adopted.failures
    assert mirror.faults() == []
    found = mirror.content()
    assert found.keys() == content.keys()
    assert all(found[path] == content[path] for path in content if path.startswith("packages/"))
    assert not simulator.downloads("six-1.0-py3-none-any.whl")
    assert list((mirror.mirror.root / ".pypimirror" / "staging").iterdir()) == []
