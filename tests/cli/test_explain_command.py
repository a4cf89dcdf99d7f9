"""`pypimirror explain`: in or out, by which rule, from where the fact comes, until when."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command
from tests.mirror import Mirror, listing, offer, offer_sdist
from tests.simulator import Simulator, Status
from tests.simulator.index import EPOCH


def test_each_file_is_explained_and_nothing_is_changed(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    old, new = offer(simulator, "six", "1.0", "2.0rc1")
    mirror.select("six", prereleases=False)
    assert run("sync", "--inline", "--quiet").code == 0
    before = listing(mirror.root, without=".pypimirror")
    document = run("explain", "Six", "--json").json
    assert (document["project"], document["selected"]) == ("six", True)
    assert document["upstream"] == "sim0"
    assert document["files"] == [
        {"file": old.filename, "selected": True, "rule": None, "fact": None,
         "until": None, "until_iso": None,
         "metadata_only": False, "state": "published", "last_error": None},
        {"file": new.filename, "selected": False, "rule": "select.prereleases",
         "fact": "version 2.0rc1, by file name", "until": None, "until_iso": None,
         "metadata_only": False, "state": None, "last_error": None},
    ]  # fmt: skip
    assert listing(mirror.root, without=".pypimirror") == before
    told = run("explain", "six", new.filename)
    assert told.code == 0
    assert "select.prereleases" in told.out
    assert old.filename not in told.out


def test_it_is_said_which_files_stay_at_the_upstream_and_which_cannot(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    old, new = offer(simulator, "six", "1.0", "2.0")
    (bare,) = offer(simulator, "six", "1.1", digests=("md5",))
    mirror.select("six", metadata_only=["six<2"])
    assert run("sync", "--inline", "--quiet").code == 1
    found = {entry["file"]: entry for entry in run("explain", "six", "--json").json["files"]}
    assert found[old.filename] == {
        "file": old.filename, "selected": True, "rule": "select.metadata_only",
        "fact": "'six<2' names version 1.0", "until": None, "until_iso": None,
        "metadata_only": True,
        "state": "linked", "last_error": None,
    }  # fmt: skip
    assert not found[new.filename]["metadata_only"] and found[new.filename]["selected"]
    assert (found[bare.filename]["selected"], found[bare.filename]["rule"]) == (False, "no-proof")
    assert "linked" in run("explain", "six", old.filename).out
    status = run("status", "six", "--json").json["projects"][0]["files"][0]
    assert (status["state"], status["proof"], status["sha256"]) == ("linked", None, old.sha256)
    assert run("status", "--json").json["files"]["linked"] == 1


def test_it_is_said_until_when_a_file_waits(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select("six", older_than="5200w")
    (entry,) = run("explain", "six", "--json").json["files"]
    assert not entry["selected"]
    assert entry["until"] == pytest.approx(EPOCH.timestamp() + 5200 * 7 * 86400, abs=60)


def test_a_time_that_no_calendar_has_is_told_as_the_last_one(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select("six", older_than="9999999w")
    (entry,) = run("explain", "six", "--json").json["files"]
    assert entry["until_iso"].startswith("9999-12-")
    assert "9999-12-" in run("explain", "six").out


def test_files_of_variants_are_told_to_be_left_out(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    names = {"six-1.0-variants.json", "six-1.0-py3-none-any-x86_64_v3.whl"}
    for name in names:
        simulator.add_file("six", name, b"{}")
    found = {entry["file"]: entry for entry in run("explain", "six", "--json").json["files"]}
    assert found.keys() == names | {file.filename}
    assert {name for name, entry in found.items() if entry["rule"] == "variant"} == names
    assert not any(found[name]["selected"] for name in names)


def test_a_mirror_that_is_not_there_yet_is_not_made(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    assert run("explain", "six").code == 0
    assert not mirror.root.exists()


def test_a_project_that_is_not_selected_is_explained_without_asking(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    mirror.select("idna", exclude=["six"])
    document = run("explain", "six", "--json").json
    assert (document["selected"], document["rule"]) == (False, "select.projects")
    mirror.select(exclude=["s*"])
    document = run("explain", "six", "--json").json
    assert (document["selected"], document["rule"]) == (False, "select.exclude")
    assert document["fact"] == "'s*' names the project"
    assert simulator.requests == []


def test_a_project_of_a_lock_that_no_environment_needs_is_told_so(
    run: Command, mirror: Mirror
) -> None:
    lock = mirror.base / "requirements.txt"
    lock.write_text("six==1.0\ncolorama==2.0; sys_platform == 'win32'\n")
    mirror.sections["select"] = {}
    select = {"locks": [str(lock)], "platforms": ["manylinux_2_28_x86_64", "any"]}
    mirror.configure(select=select)
    document = run("explain", "colorama", "--json").json
    assert (document["selected"], document["rule"]) == (False, f"{lock}:2")
    assert document["fact"].startswith("names colorama 2.0, which no environment")


def test_what_the_upstream_lacks_and_what_is_refused_is_said(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    gone, _ = offer(simulator, "six", "1.0", "2.0")
    offer_sdist(simulator, "six", "3.0", digests={"sha256": "short"})
    run("sync", "--inline", "--quiet")
    gone.remove()
    entries = {e["file"]: e for e in run("explain", "six", "--json").json["files"]}
    assert entries[gone.filename]["rule"] == "upstream"
    assert entries[gone.filename]["state"] == "published"
    assert entries["six-3.0.tar.gz"]["rule"] == "bad-digest"
    document = run("explain", "nobody", "--json").json
    assert (document["selected"], document["rule"], document["files"]) == (False, "upstream", [])


def test_wrong_names_and_silent_upstreams_have_their_exit_codes(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    assert run("explain", "six>=1").code == 2
    told = run("explain", "six", "1.0")
    assert (told.code, "such as six-1.0-py3-none-any.whl" in told.err) == (2, True)
    with simulator.refusing():
        assert run("explain", "six").code == 3


def test_what_the_mirror_refuses_is_not_called_in(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    run("sync", "--inline", "--quiet")
    file.replace(b"other bytes")
    assert run("sync", "--inline", "--quiet").code == 1
    (told,) = run("explain", "six", "--json").json["files"]
    assert (told["selected"], told["rule"]) == (False, "digest-changed")
    assert "as the last run saw it" in told["fact"]


def test_it_is_said_that_a_page_is_empty_and_who_is_not_asked(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    simulator.project("six")
    with Simulator() as other:
        mirror.upstreams.append({"name": "other", "url": other.url})
        mirror.select("six")
        assert (
            "page of sim0 has no files; upstreams after it are not asked"
            in run("explain", "six").out
        )


def test_what_the_upstream_keeps_back_is_told_apart_everywhere(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    """A file that a policy firewall denies is mirrored no more than one that is refused."""
    _, denied, lost = offer(simulator, "six", "1.0", "2.0", "3.0")
    simulator.fault(denied, Status(403, body=b'{"message": "held for review"}'))
    simulator.fault(lost, Status(404))
    assert run("sync", "--inline", "--quiet").code == 1
    found = {entry["file"]: entry for entry in run("explain", "six", "--json").json["files"]}
    entry = found[denied.filename]
    assert (entry["selected"], entry["rule"], entry["state"]) == (False, "denied", "denied")
    assert "held for review" in entry["fact"] and "held for review" in entry["last_error"]
    failed = found[lost.filename]
    assert (failed["selected"], failed["state"]) == (True, "failed")
    assert failed["last_error"].startswith("missing: ")
    told = run("explain", "six").out
    assert "held for review" in told and "the last try failed: missing: " in told
    counted = run("status", "--json").json["files"]
    assert (counted["failed"], counted["denied"]) == (1, 1)
    assert "1 denied" in run("status").out
    history = run("runs", "show", "last").out
    assert (
        f"1 kept back by the upstream (not a failure of the mirror):\n    {denied.filename}"
        in history
    )
    assert "missing: " in history and "denied: " not in history
    states = {
        f["file"]: f["state"] for f in run("status", "six", "--json").json["projects"][0]["files"]
    }
    assert (states[denied.filename], states[lost.filename]) == ("denied", "failed")
    figures = {
        (sample["name"], *sample["labels"].values()): sample["value"]
        for sample in run("metrics", "--json").json["metrics"]
    }
    assert figures["pypimirror_files", "denied"] == figures["pypimirror_files", "failed"] == 1
    assert figures["pypimirror_backlog_files", "denied"] == 1
    assert figures["pypimirror_backlog_files", "failed"] == 1
    assert figures["pypimirror_last_run_denied", "sync"] == 1
    assert figures["pypimirror_last_run_failures", "sync", "denied"] == 0
    assert figures["pypimirror_last_run_failures", "sync", "missing"] == 1


def test_a_project_that_clients_may_ask_for_is_explained(run: Command, mirror: Mirror) -> None:
    mirror.configure(on_demand={"projects": ["s*"]})
    fact = run("explain", "six", "--json").json["fact"]
    assert "no entry names the project; clients may ask for it (on_demand.projects: 's*'" in fact
    fact = run("explain", "idna", "--json").json["fact"]
    assert "clients may not ask for it (on_demand.projects: no entry names" in fact


def test_what_to_do_about_a_project_that_is_not_mirrored_is_said(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    assert "name that index in a further [[upstream]]" in run("explain", "nobody").out
    assert "[[upstream]]" not in run("explain", "six").out
    mirror.select("six", exclude=["idna"])
    assert (
        "add its name to projects in [select]; then 'pypimirror sync'"
        in run("explain", "nobody").out
    )
    mirror.sections["select"] = {}
    mirror.select(exclude=["idna"])
    assert "remove that entry from exclude in [select]" in run("explain", "idna").out
