"""Metadata-only projects: pages here, files at the upstream; switched on and off at any time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit.audit import Options, audit
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.download.adopt import adopt
from pypimirror.pipeline.run import Run
from tests.mirror import Mirror, attest, offer, offer_sdist, reasons
from tests.simulator import IndexFile, Simulator, Status
from tests.simulator.index import EPOCH


def address(simulator: Simulator, file: IndexFile) -> str:
    """Where the upstream has a file."""
    return f"{simulator.root}{file.quoted_path}"


def entry(mirror: Mirror, file: IndexFile) -> dict[str, Any]:
    """What the page says of a file."""
    files = mirror.page(file.project.normalized)["files"]
    found: dict[str, Any] = next(f for f in files if f["filename"] == file.filename)
    return found


def is_linked(mirror: Mirror, simulator: Simulator, file: IndexFile) -> bool:
    """Whether the page leads to the upstream; a page that leads elsewhere is not sound."""
    return bool(entry(mirror, file)["url"] == address(simulator, file))


def at(seconds: float) -> Any:
    """A sync at a moment of the story."""

    def work(run: Run) -> None:
        sequence.sync(replace(run, now=EPOCH.timestamp() + seconds))

    return work


def test_a_page_leads_to_the_upstream_and_says_what_the_upstream_says(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0", requires_python=">=3.8", digests=("sha256", "md5"))
    file.yank("broken")
    (held,) = offer(simulator, "idna", "1.0")
    mirror.select(metadata_only=["six"])
    result = mirror.sync()
    assert result.state == "completed"
    assert result.counts["files_downloaded"] == result.counts["files_linked"] == 1
    assert simulator.downloads(file.filename) == 0
    assert mirror.projects == ["idna", "six"]
    assert not (mirror.root / "packages" / "six").exists()
    assert mirror.holds(held)
    url = address(simulator, file)
    assert entry(mirror, file) == {
        "filename": file.filename,
        "url": url,
        "hashes": file.digests,
        "size": file.size,
        "upload-time": file.upload_time,
        "requires-python": ">=3.8",
        "yanked": "broken",
        "core-metadata": file.core_metadata,
    }
    html = (mirror.root / "simple" / "six" / "index.html").read_text()
    assert f'href="{url}#sha256={file.sha256}"' in html
    assert mirror.state(file.filename) == "linked"
    assert mirror.sync().counts["pages_written"] == 0


def test_attestations_stay_at_the_upstream_too(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    attest(file)
    mirror.select(metadata_only=["six"])
    mirror.sync()
    address = f"{simulator.root}/integrity/six/{file.filename}/provenance"
    assert entry(mirror, file)["provenance"] == address
    mirror.configure(publish={"provenance": False})
    mirror.sync()
    assert "provenance" not in entry(mirror, file)


def test_a_base_url_is_for_files_that_are_here(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    (held,) = offer(simulator, "idna", "1.0")
    mirror.select(metadata_only=["six"])
    mirror.configure(publish={"base_url": "http://127.0.0.1:1/", "formats": ["json", "legacy"]})
    mirror.sync(sound=False)
    assert is_linked(mirror, simulator, file)
    assert entry(mirror, held)["url"] == f"http://127.0.0.1:1/packages/idna/{held.filename}"
    legacy = json.loads((mirror.root / "pypi" / "six" / "json").read_text())
    assert legacy["urls"][0]["url"] == address(simulator, file)


def test_switched_on_the_page_changes_first_and_the_bytes_go_after_the_grace_period(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync(work=at(0))
    serial = mirror.page("six")["meta"]["_last-serial"]
    mirror.select(metadata_only=["s*"])
    result = mirror.sync(work=at(0))
    assert result.state == "completed" and result.counts["files_withdrawn"] == 1
    assert is_linked(mirror, simulator, file)
    assert mirror.page("six")["meta"]["_last-serial"] > serial
    assert mirror.holds(file)
    mirror.sync(work=at(3599))
    assert mirror.holds(file)
    mirror.sync(work=at(3601))
    assert not (mirror.root / "packages" / "six").exists()
    assert is_linked(mirror, simulator, file)


def test_switched_off_in_the_grace_period_nothing_is_downloaded(
    mirror: Mirror, simulator: Simulator
) -> None:
    mirror.configure(delete={"grace": "1h"})
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync(work=at(0))
    mirror.select(metadata_only=["six"])
    mirror.sync(work=at(60))
    mirror.select()
    mirror.sync(work=at(120))
    assert not is_linked(mirror, simulator, file)
    assert mirror.state(file.filename) == "published"
    mirror.sync(work=at(7200))
    assert mirror.holds(file)
    assert simulator.downloads(file.filename) == 1


def test_switched_off_the_page_leads_to_the_upstream_until_the_bytes_are_here(
    mirror: Mirror, simulator: Simulator
) -> None:
    good, bad = offer(simulator, "six", "1.0", "1.1")
    mirror.select(metadata_only=["six"])
    mirror.sync()
    mirror.select()
    fault = simulator.fault(bad, Status(500))
    assert reasons(mirror.sync().failures) == {bad.filename: "http-status"}
    assert not is_linked(mirror, simulator, good) and is_linked(mirror, simulator, bad)
    simulator.heal(fault)
    assert mirror.sync("six").state == "completed"
    assert not is_linked(mirror, simulator, bad)


def test_a_file_that_comes_while_it_is_to_be_held_is_on_no_page_before_it_is_here(
    mirror: Mirror, simulator: Simulator
) -> None:
    """Promise 1: a link that stood once is no licence."""
    (file,) = offer(simulator, "six", "1.0")
    mirror.select(metadata_only=["six"])
    mirror.sync()
    mirror.select(exclude=["six"])
    mirror.sync()
    assert mirror.state(file.filename) == "withdrawn" and not mirror.has_page("six")
    mirror.select()
    fault = simulator.fault(file, Status(500))
    mirror.sync()
    assert mirror.files("six") == []
    simulator.heal(fault)
    mirror.sync("six")
    assert mirror.files("six") == [file.filename]


def test_a_requirement_says_which_releases_stay_elsewhere(
    mirror: Mirror, simulator: Simulator
) -> None:
    old, new = offer(simulator, "six", "1.0", "2.0")
    mirror.select(metadata_only=["six<2"])
    mirror.sync()
    assert is_linked(mirror, simulator, old) and not is_linked(mirror, simulator, new)
    assert mirror.holds(new) and not mirror.holds(old)


def test_a_rule_holds_some_where_all_else_is_elsewhere(
    mirror: Mirror, simulator: Simulator
) -> None:
    (held,) = offer(simulator, "six", "1.0")
    (file,) = offer(simulator, "idna", "1.0")
    mirror.select(metadata_only=["*"])
    rule = '[[select.rules]]\nprojects = ["six"]\nmetadata_only = false\n'
    mirror.file.write_text(mirror.file.read_text() + rule)
    mirror.sync()
    assert mirror.holds(held) and is_linked(mirror, simulator, file)


def test_only_what_installers_can_check_is_linked(mirror: Mirror, simulator: Simulator) -> None:
    (good,) = offer(simulator, "six", "1.0")
    (bare,) = offer(simulator, "six", "1.1", digests=("md5",))
    mirror.select(metadata_only=["six"])
    result = mirror.sync()
    assert reasons(result.failures) == {bare.filename: "no-proof"}
    assert mirror.files("six") == [good.filename]
    assert simulator.downloads(bare.filename) == 0
    assert reasons(mirror.sync().failures) == {bare.filename: "no-proof"}


def test_what_the_mirror_has_proven_itself_installers_can_check(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0", digests=("md5",))
    mirror.sync()
    mirror.select(metadata_only=["six"])
    assert mirror.sync().state == "completed"
    assert entry(mirror, file)["hashes"]["sha256"] == file.sha256
    assert is_linked(mirror, simulator, file)
    assert not mirror.path(file).exists()


def test_no_page_leads_to_a_host_that_is_not_allowed(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    (stray,) = offer(simulator, "six", "1.1")
    stray.set(url="http://169.254.1.1/six-1.1-py3-none-any.whl")
    mirror.select(metadata_only=["six"])
    for hosts in ([], ["*"]):
        mirror.upstreams[0]["hosts"] = hosts
        mirror.configure()
        assert reasons(mirror.sync().failures) == {stray.filename: "host-not-allowed"}
        assert mirror.files("six") == [file.filename]
    mirror.upstreams[0]["hosts"] = ["169.254.1.1"]
    mirror.configure()
    assert mirror.sync(sound=False).state == "completed"
    assert mirror.files("six") == [file.filename, stray.filename]


def test_a_changed_digest_is_refused_of_a_linked_file_too(
    mirror: Mirror, simulator: Simulator
) -> None:
    """Promise 9: a name that stood on a page is bound to the digest that stood with it."""
    (file,) = offer(simulator, "six", "1.0")
    before = file.sha256
    mirror.select(metadata_only=["six"])
    mirror.configure(delete={"max_share": 1.0})  # it is the only one
    mirror.sync()
    file.replace(bytes(file.content) + b"x")
    for _ in range(2):
        assert reasons(mirror.sync().failures) == {file.filename: "digest-changed"}
        assert entry(mirror, file)["hashes"]["sha256"] == before
    file.remove()
    mirror.sync()
    assert mirror.files("six") == []
    (again,) = offer(simulator, "six", "1.0")
    again.replace(bytes(again.content) + b"y")
    assert reasons(mirror.sync().failures) == {file.filename: "digest-changed"}
    assert mirror.files("six") == []
    mirror.configure(verify={"on_changed": "replace"})
    again.set(requires_python=">=3.7")
    assert mirror.sync().state == "completed"
    assert entry(mirror, again)["hashes"]["sha256"] == again.sha256
    assert simulator.downloads(file.filename) == 0


def test_linked_files_follow_removals_quarantine_and_its_end(
    mirror: Mirror, simulator: Simulator
) -> None:
    kept, gone = offer(simulator, "six", "1.0", "1.1")
    mirror.select(metadata_only=["six"])
    mirror.configure(delete={"max_share": 1.0})  # in the end, none is left
    mirror.sync()
    gone.remove()
    assert mirror.sync().counts["files_withdrawn"] == 1
    assert mirror.files("six") == [kept.filename]
    simulator.project("six").set_status("quarantined", None, moves_serial=True)
    mirror.sync()
    assert mirror.page("six")["project-status"] == {"status": "quarantined"}
    assert mirror.files("six") == []
    simulator.project("six").set_status("active", None, moves_serial=True)
    mirror.sync()
    assert mirror.files("six") == [kept.filename] and is_linked(mirror, simulator, kept)
    simulator.delete_project("six")
    mirror.sync()
    assert mirror.projects == [] and not mirror.has_page("six")
    assert simulator.downloads(kept.filename) == 0


def test_the_deletion_guard_sees_linked_files_and_no_change_of_the_configuration(
    mirror: Mirror, simulator: Simulator
) -> None:
    files = [offer(simulator, name, "1.0")[0] for name in ("a", "b", "c", "d")]
    mirror.sync()
    mirror.select(metadata_only=["*"])
    assert mirror.sync().state == "completed"
    for file in files[:3]:
        file.remove()
    result = mirror.sync()
    assert result.state == "failed" and "3 of 4" in (result.message or "")
    assert is_linked(mirror, simulator, files[0])


def test_of_several_upstreams_the_owner_is_linked(
    mirror: Mirror, simulator: Simulator, second: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(second, "six", "1.0", "2.0")
    (other,) = offer(second, "idna", "1.0")
    mirror.simulators = (simulator, second)
    mirror.upstreams.append({"name": "second", "url": second.url})
    mirror.select(metadata_only=["*"])
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [file.filename]
    assert is_linked(mirror, simulator, file) and is_linked(mirror, second, other)


def test_a_plan_fetches_nothing_and_says_what_is_linked_and_what_leaves(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    (new,) = offer(simulator, "idna", "1.0")
    mirror.select("six")
    mirror.sync()
    mirror.select(metadata_only=["*"])
    plan = mirror.plan()
    assert plan.fetch == [] and list(plan.publish) == ["six", "idna"]
    assert {(e.file, e.reason) for e in plan.link} == {
        (file.filename, "metadata-only"),
        (new.filename, "metadata-only"),
    }
    assert [e.file for e in plan.withdraw] == [e.file for e in plan.remove] == [file.filename]
    assert mirror.state(file.filename) == "published"
    mirror.sync()
    assert mirror.state(file.filename) == "linked" and not mirror.path(file).exists()
    plan = mirror.plan()
    assert (plan.fetch, plan.link, plan.withdraw, plan.remove) == ([], [], [], [])


@pytest.mark.parametrize("grace", ["0s", "1d"])
def test_a_plan_links_nothing_that_is_to_be_held_again(
    mirror: Mirror, simulator: Simulator, grace: str
) -> None:
    mirror.configure(delete={"grace": grace})
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    mirror.select(metadata_only=["*"])
    mirror.sync()
    assert mirror.path(file).exists() == (grace != "0s")
    mirror.select()
    plan = mirror.plan()
    assert (plan.link, list(plan.publish)) == ([], ["six"])
    assert [e.file for e in plan.fetch] == ([file.filename] if grace == "0s" else [])


def test_what_waits_to_be_fetched_is_not_fetched_any_more(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    simulator.fault(file, Status(500))
    assert mirror.sync().state == "incomplete"
    mirror.select(metadata_only=["six"])
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert simulator.downloads(file.filename) == 0
    assert is_linked(mirror, simulator, file)


def test_a_sdist_is_linked_as_well(mirror: Mirror, simulator: Simulator) -> None:
    file = offer_sdist(simulator, "six", "1.0")
    mirror.select(metadata_only=["six"])
    mirror.sync()
    assert is_linked(mirror, simulator, file)
    assert "core-metadata" not in entry(mirror, file)


@pytest.mark.parametrize("on_changed", ["refuse", "replace"])
def test_a_digest_that_changes_with_the_switch_never_puts_unproven_bytes_on_a_page(
    mirror: Mirror, simulator: Simulator, on_changed: str
) -> None:
    """A run dies between discover and publish; then the switch is taken back."""
    from pypimirror.domain.model import Stage

    class Die(KeyboardInterrupt):
        pass

    def die(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.PUBLISH:
            raise Die
        sequence.perform(run, stage, batch)

    file = offer_sdist(simulator, "six", "1.0")
    mirror.configure(verify={"on_changed": on_changed})
    mirror.sync()
    before = file.sha256
    content = bytearray(file.content)
    content[-1] ^= 1
    file.replace(bytes(content))
    mirror.select(metadata_only=["six"])
    assert mirror.sync(work=lambda run: sequence.sync(run, die)).state == "cancelled"
    mirror.select()
    mirror.sync()
    kept = on_changed == "refuse"
    assert entry(mirror, file)["hashes"]["sha256"] == (before if kept else file.sha256)
    assert not is_linked(mirror, simulator, file)


def everything(mirror: Mirror) -> bytes:
    """All that is served, in one."""
    simple = (mirror.root / "simple").rglob("*")
    return b"".join(path.read_bytes() for path in simple if path.is_file())


def test_no_login_of_an_upstream_is_on_a_page(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    attest(file)
    mirror.upstreams[0]["url"] = simulator.url.replace("//", "//me:secret@")
    mirror.configure(publish={"formats": ["html", "json", "legacy"]})
    mirror.select(metadata_only=["six"])
    assert mirror.sync().state == "completed"
    assert is_linked(mirror, simulator, file)
    assert b"secret" not in everything(mirror)
    (stray,) = offer(simulator, "six", "1.1")
    stray.set(url=f"http://me:secret@{simulator.host}{stray.quoted_path}")
    assert reasons(mirror.sync().failures) == {stray.filename: "unsafe-url"}
    assert b"secret" not in everything(mirror)


def test_a_page_of_an_alternate_leads_to_the_alternate(
    mirror: Mirror, simulator: Simulator, second: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    (copy,) = offer(second, "six", "1.0")
    mirror.simulators = (simulator, second)
    mirror.upstreams[0]["alternates"] = [second.url]
    mirror.select("six", metadata_only=["six"])
    fault = simulator.fault("/simple/six/", Status(500))
    mirror.sync()
    assert is_linked(mirror, second, copy)
    simulator.heal(fault)
    mirror.sync()
    assert is_linked(mirror, simulator, file)


def test_the_layout_of_the_upstream_is_kept_by_what_comes_and_goes(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.configure(mirror={"layout": "pypi"})
    for _ in range(2):
        mirror.select()
        mirror.sync()
        assert list((mirror.root / "packages").rglob(file.filename))
        mirror.select(metadata_only=["six"])
        mirror.sync()
        assert is_linked(mirror, simulator, file)
        assert not list((mirror.root / "packages").rglob("*.whl*"))


def test_pages_are_compared_and_mended_and_nothing_is_hashed(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.select(metadata_only=["six"])
    mirror.sync()
    page = mirror.root / "simple" / "six" / "index.html"
    page.write_text("<p>mine</p></html>")

    counts: dict[str, int] = {}

    def work(run: Run) -> None:
        audit(run, Options(repair=True), sequence.repair)
        counts.update(run.ledger.counts)

    assert mirror.sync(work=work).state == "completed"
    assert counts["repaired"] == 1 and "files_checked" not in counts
    assert file.sha256 in page.read_text()
    assert simulator.downloads(file.filename) == 0


def test_bytes_of_a_metadata_only_project_are_not_adopted_but_named(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    (held,) = offer(simulator, "idna", "1.0")
    mirror.sync()
    mirror.lose_catalog()
    mirror.select(metadata_only=["six"])
    result = mirror.sync(work=lambda run: adopt(run, sequence.sync))
    relative = f"packages/six/{file.filename}"
    found = {problem.file: problem.reason.value for problem in result.failures}
    assert found == {relative: "foreign", f"{relative}.metadata": "foreign"}
    assert mirror.holds(file) and mirror.state(held.filename) == "published"
    assert is_linked(mirror, simulator, file)


def test_a_page_of_links_can_be_led_to(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    body = f'<a href="{file.quoted_path}#sha256={file.sha256}">x</a><a href="/bare-1.0.zip">y</a>'
    simulator.serve("/links", body)
    mirror.upstreams[0] |= {"url": f"{simulator.root}/links", "kind": "links"}
    mirror.select(metadata_only=["*"])
    assert reasons(mirror.sync().failures) == {"bare-1.0.zip": "no-proof"}
    assert is_linked(mirror, simulator, file)
    assert "size" not in entry(mirror, file)


def test_a_mirror_that_follows_holds_what_this_one_does_not(
    mirror: Mirror, simulator: Simulator, tmp_path: Path
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.select(metadata_only=["six"])
    mirror.sync()
    follower = Mirror(tmp_path / "follower", simulator)
    follower.upstreams[0] |= {
        "url": (mirror.root / "simple").as_uri() + "/",
        "hosts": [simulator.host],
    }
    follower.configure()
    assert follower.sync().state == "completed"
    assert follower.holds(file)
