"""`pypimirror doctor` finds what is wrong, also on an installation that does not work."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import this_machine, this_process
from pypimirror.catalog.queries import leases
from pypimirror.doctor import examine, upstreams, webhook
from pypimirror.doctor.finding import Finding, FindingState
from pypimirror.doctor.scratch import scratch
from pypimirror.resolve import uv
from pypimirror.storage import lock
from tests.cli.conftest import Command
from tests.cli.conftest import run as run
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, listing, offer
from tests.simulator import Simulator, Status


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror of one project, with nothing wrong."""
    offer(simulator, "six", "1.0")
    made = Mirror(tmp_path, simulator, mirror={"reserve": "1 MiB"})
    made.select("six")
    made.sync()
    simulator.forget()
    return made


def found(mirror: Mirror, *groups: str) -> dict[str, Finding]:
    """What the checks of some groups find, by name."""
    return {
        finding.name: finding
        for group in groups
        for finding in examine._guarded(group, examine.CHECKS[group], mirror.config)
    }


def test_all_is_well_and_nothing_is_changed(
    mirror: Mirror, simulator: Simulator, run: Command
) -> None:
    """One request for each upstream, of a page that is selected; a run may hold the lock."""
    before = mirror.served()
    private = set(listing(mirror.root / ".pypimirror"))
    with lock.hold(mirror.root / ".pypimirror" / "lock"):
        outcome = run("doctor", "--json")
    assert outcome.code == 0, outcome.out
    states = {check["name"]: check["state"] for check in outcome.json["checks"]}
    assert states == {
        "configuration": "ok",
        "directory": "ok",
        "file system": "ok",
        "permissions": "ok",
        "private": "ok",
        "readers": "ok",
        "owners": "ok",
        "names": "ok",
        "catalog": "ok",
        "run": "ok",
        "space": "ok",
        "upstream sim0": "ok",
        "clock": "skipped",  # the simulator does not say what time it is
        "round trip": "ok",
        "prefect": "skipped",
    }
    assert [request.path for request in simulator.requests] == ["/simple/six/"]
    assert mirror.served() == before
    left = {name for name in listing(mirror.root / ".pypimirror") if "sqlite-" not in name}
    assert left == private


@pytest.mark.sqlite
def test_it_says_what_is_wrong_and_what_to_do(mirror: Mirror, run: Command) -> None:
    (mirror.root / ".pypimirror" / "catalog.sqlite").write_bytes(b"no database at all")
    outcome = run("doctor")
    assert outcome.code == 1
    assert "failed   catalog" in outcome.out
    assert "pypimirror adopt" in outcome.out
    assert "ok       round trip" in outcome.out, "the other checks go on"
    assert "ok       " not in run("doctor", "--quiet").out


@pytest.mark.parametrize("text", [None, "[mirror]\ndirectory = 3\n", "[mirror"])
def test_without_a_configuration_there_is_nothing_to_look_at(
    tmp_path: Path, run: Command, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "pypimirror.toml").write_text(text)
    outcome = run("doctor", "--json")
    assert outcome.code == 2
    (check,) = outcome.json["checks"]
    assert (check["name"], check["state"]) == ("configuration", "failed")


def test_before_the_first_sync_nothing_is_wrong(tmp_path: Path, simulator: Simulator) -> None:
    mirror = Mirror(tmp_path, simulator)
    findings = found(mirror, *examine.CHECKS)
    assert {f.state for f in findings.values()} <= {
        FindingState.OK,
        FindingState.WARNING,
        FindingState.SKIPPED,
    }
    assert not mirror.root.exists()


def test_a_check_that_raises_has_failed(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, run: Command
) -> None:
    def broken(_: object) -> Iterator[Finding]:
        raise ZeroDivisionError("by nothing")
        yield

    monkeypatch.setitem(examine.CHECKS, "space", broken)
    outcome = run("doctor", "--json")
    assert outcome.code == 1
    bad = [check for check in outcome.json["checks"] if check["state"] == "failed"]
    assert [check["name"] for check in bad] == ["space"]
    assert "by nothing" in bad[0]["seen"]


# The directory


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(mirror: Mirror) -> None:
    (mirror.root / "packages").chmod(0o500)
    assert found(mirror, "directory")["directory"].state is FindingState.FAILED


def test_a_file_in_the_place_of_a_directory(mirror: Mirror) -> None:
    (mirror.root / ".pypimirror" / "staging").rmdir()
    (mirror.root / ".pypimirror" / "staging").touch()
    finding = found(mirror, "directory")["directory"]
    assert (finding.state, "staging" in finding.seen) == (FindingState.FAILED, True)


def test_a_part_that_everybody_may_write(mirror: Mirror) -> None:
    (mirror.root / "packages").chmod(0o777)
    finding = found(mirror, "directory")["permissions"]
    assert (finding.state, "chmod o-w" in finding.remedy) == (FindingState.WARNING, True)


def test_a_part_on_another_file_system(mirror: Mirror) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == mirror.root.stat().st_dev:
        pytest.skip("there is one file system only")
    (mirror.root / ".pypimirror" / "staging").rmdir()
    (mirror.root / ".pypimirror" / "staging").symlink_to(other)
    finding = found(mirror, "directory")["file system"]
    assert (finding.state, "staging" in finding.seen) == (FindingState.FAILED, True)


def test_what_a_killed_doctor_left_is_removed(mirror: Mirror) -> None:
    left = mirror.root / ".pypimirror" / "doctor.old"
    left.mkdir()
    os.utime(left, (0, 0))
    with scratch(mirror.config) as directory:
        assert directory is not None
        assert not left.exists()
    assert not directory.exists()


def test_little_space_is_told(mirror: Mirror) -> None:
    mirror.configure(mirror={"reserve": "8000 PiB"})
    assert found(mirror, "space")["space"].state is FindingState.FAILED


# The catalog


def change(mirror: Mirror, statement: str) -> None:
    path = mirror.root / ".pypimirror" / "catalog.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("statement", "state", "says"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", FindingState.FAILED, "newer"),
        ("UPDATE alembic_version SET version_num = '0001'", FindingState.WARNING, "earlier"),
        ("DROP TABLE alembic_version", FindingState.FAILED, "not pypimirror's"),
    ],
)
def test_a_catalog_of_another_version(
    mirror: Mirror, statement: str, state: FindingState, says: str
) -> None:
    change(mirror, statement)
    finding = found(mirror, "catalog")["catalog"]
    assert (finding.state, says in finding.seen) == (state, True)


@pytest.mark.sqlite
def test_a_catalog_with_damaged_pages(mirror: Mirror) -> None:
    path = mirror.root / ".pypimirror" / "catalog.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 12] = b"\xaa" * (4096 * 9)
    path.write_bytes(content)
    assert found(mirror, "catalog")["catalog"].state is FindingState.FAILED


def test_a_run_is_under_way_as_long_as_its_process_lives(mirror: Mirror) -> None:
    catalog = Catalog.open(mirror.config.catalog_url)
    me = this_process(this_machine())
    gone = msgspec.structs.replace(
        me, started=me.started + 1
    )  # the number of its process is used again
    mirror.query("UPDATE runs SET state = 'running'")
    for holder, said in {me: "under way", gone: "was killed"}.items():
        with catalog.write() as connection:
            leases.put(connection, holder, 60)
        finding = found(mirror, "catalog")["run"]
        assert said in finding.seen
        assert (finding.state is FindingState.OK) == (holder is me)
    catalog.close()


@pytest.mark.sqlite
def test_a_lost_catalog(mirror: Mirror) -> None:
    (mirror.root / ".pypimirror" / "catalog.sqlite").unlink()
    finding = found(mirror, "catalog")["catalog"]
    assert (finding.state, "adopt" in finding.remedy) == (FindingState.WARNING, True)
    assert not (mirror.root / ".pypimirror" / "catalog.sqlite").exists()


# Upstreams and the clock


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (404, FindingState.WARNING),
        (401, FindingState.FAILED),
        (503, FindingState.FAILED),
        (405, FindingState.OK),
    ],
)
def test_what_an_upstream_answers(
    mirror: Mirror, simulator: Simulator, status: int, state: FindingState
) -> None:
    simulator.fault("*/simple/six/", Status(status))
    assert found(mirror, "upstream")["upstream sim0"].state is state


@pytest.mark.parametrize(
    ("has_list", "state"), [(True, FindingState.FAILED), (False, FindingState.OK)]
)
def test_an_index_without_a_list(
    mirror: Mirror, simulator: Simulator, has_list: bool, state: FindingState
) -> None:
    """Names need none, globs do; and who has said that there is none is not told to look."""
    mirror.upstreams[0]["has_list"] = has_list
    mirror.select("si*")
    simulator.fault("/simple/", Status(404))
    told = found(mirror, "upstream", "list")
    assert told["upstream sim0"].state is state
    assert ("list of sim0" in told) == has_list
    for name in told.keys() & ({"upstream sim0", "list of sim0"} if has_list else ()):
        assert "has_list = false" in told[name].remedy


def test_a_page_that_is_no_index(mirror: Mirror, simulator: Simulator) -> None:
    """Such as the login page of a proxy."""
    simulator.fault("*/simple/six/", Status(200))
    assert found(mirror, "upstream")["upstream sim0"].state is FindingState.FAILED


def test_without_a_named_project_no_list_is_fetched(mirror: Mirror, simulator: Simulator) -> None:
    mirror.select()
    assert found(mirror, "upstream")["upstream sim0"].state is FindingState.OK
    ((method, path),) = {(request.method, request.path) for request in simulator.requests}
    assert (method, path) == ("HEAD", "/simple/")


def test_an_upstream_that_never_answers(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "PATIENCE", 1.0)
    hold = simulator.hold("*/simple/six/")
    finding = found(mirror, "upstream")["upstream sim0"]
    hold.release()
    assert (finding.state, "no answer" in finding.seen) == (FindingState.FAILED, True)


def test_a_clock_that_is_wrong_is_told() -> None:
    assert upstreams._clock([3600.0, 3601.0]).state is FindingState.WARNING
    assert "behind" in upstreams._clock([3600.0]).seen
    assert "ahead" in upstreams._clock([-3600.0]).seen
    assert upstreams._clock([3600.0, 1.0]).state is FindingState.OK, (
        "one upstream's clock may be wrong"
    )
    assert upstreams._clock([]).state is FindingState.SKIPPED


# Prefect


@contextmanager
def prefect_api(answers: dict[str, Any]) -> Iterator[str]:
    """An API that gives fixed answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.removeprefix("/api/"))
            self.send_response(200 if answer is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OURS = [{"name": "scheduled", "work_pool_name": "pypimirror"}]
WORKERS = "work_pools/pypimirror/workers/filter"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, {"prefect": "failed"}),
        ({"admin/version": "2.1.0"}, {"prefect": "warning"}),
        (
            {"admin/version": "", "deployments/filter": []},
            {"prefect": "ok", "prefect deployments": "warning"},
        ),
        (
            {"admin/version": "", "deployments/filter": OURS, WORKERS: []},
            {"prefect": "ok", "prefect deployments": "ok", "prefect worker": "warning"},
        ),
        (
            {
                "admin/version": "",
                "deployments/filter": OURS,
                WORKERS: [{"name": "one", "status": "ONLINE"}],
            },
            {"prefect": "ok", "prefect deployments": "ok", "prefect worker": "ok"},
        ),
    ],
)
def test_prefect(answers: dict[str, Any], expected: dict[str, str]) -> None:
    from importlib.metadata import version

    from pypimirror.doctor import prefect

    if answers.get("admin/version") == "":
        answers = {**answers, "admin/version": version("prefect")}
    if "deployments/filter" not in answers and answers:
        answers = {**answers, "deployments/filter": []}
        expected = {**expected, "prefect deployments": "warning"}
    with prefect_api(answers) as api:
        api = api.replace("//", "//me:s3cret@")
        found = list(prefect.check(api))
        assert {f.name: f.state.value for f in found} == expected
    ended = list(prefect.check(api))
    assert [f.state for f in ended] == [FindingState.FAILED], "it has ended"
    assert "s3cret" not in repr(found + ended)


@pytest.mark.parametrize(
    ("shards", "deployed", "state"),
    [(0, OURS, "ok"), (3, OURS, "warning"), (3, [*OURS, {**OURS[0], "name": "shard"}], "ok")],
)
def test_shards_need_their_deployment_and_places(
    mirror: Mirror, shards: int, deployed: list[dict[str, str]], state: str
) -> None:
    from pypimirror.doctor import prefect

    mirror.configure(workers={"shards": shards})
    answers = {"admin/version": "3.9.1", "deployments/filter": deployed, WORKERS: []}
    with prefect_api(answers) as api:
        found = {each.name: each for each in prefect.check(api, mirror.config)}
    assert found["prefect deployments"].state.value == state
    assert found["prefect worker"].remedy == (
        f"Start one: 'prefect worker start --pool pypimirror --limit {6 + shards}'"
    )


# What is named, when, and who is told


def test_a_misspelt_project_is_told_whichever_it_is(mirror: Mirror, simulator: Simulator) -> None:
    mirror.select("six", "sixx", "idna")
    offer(simulator, "idna", "1.0")
    finding = found(mirror, "projects")["projects"]
    assert (finding.state, finding.seen) == (FindingState.WARNING, "no upstream has sixx")
    mirror.select("six", "idna")
    finding = found(mirror, "projects")["projects"]
    assert (finding.state, finding.seen) == (FindingState.OK, "2 named, 2 asked for, 2 there")
    with simulator.refusing():
        assert found(mirror, "projects")["projects"].state is FindingState.SKIPPED


def test_what_another_machine_has_resolved_is_named(mirror: Mirror, simulator: Simulator) -> None:
    made = make_wheel("app", "1.0", requires=["six"])
    simulator.add_file("app", *made, core_metadata=True)
    mirror.configure(select={"projects": ["app"], "dependencies": "resolved"})
    mirror.sync()
    shutil.rmtree(mirror.root / ".pypimirror" / "resolved")
    finding = found(mirror, "projects")["projects"]
    assert (finding.state, finding.seen) == (FindingState.OK, "2 named, 2 asked for, 2 there")


def test_a_project_of_another_upstream_is_not_missed(mirror: Mirror, simulator: Simulator) -> None:
    with Simulator() as other:
        offer(other, "idna", "1.0")
        mirror.upstreams.append({"name": "other", "url": other.url})
        mirror.select("idna", "nowhere")
        findings = found(mirror, "upstream", "projects")
    assert findings["upstream sim0"].state is FindingState.OK
    assert findings["projects"].seen == "no upstream has nowhere"


def test_an_alert_that_nobody_would_get_is_told(mirror: Mirror, simulator: Simulator) -> None:
    """And the path of the address, which is a secret, to nobody."""
    states = {}
    for path in ("here", "gone", "broken", "closed"):
        mirror.configure(alerts={"webhook": f"{simulator.root}/hook/{path}"})
        simulator.serve("/hook/here", b"")
        simulator.fault("/hook/broken", Status(502))
        simulator.fault("/hook/closed", Status(403))
        (finding,) = webhook.check(mirror.config)
        states[path] = finding.state
        assert "hook/" not in finding.seen + finding.remedy
    wrong = dict.fromkeys(("gone", "broken", "closed"), FindingState.WARNING)
    assert states == {"here": FindingState.OK, **wrong}
    mirror.configure(alerts={"webhook": "http://127.0.0.1:9/hook"})
    (finding,) = webhook.check(mirror.config)
    assert finding.state is FindingState.FAILED
    assert {request.method for request in simulator.requests} == {"HEAD"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_disk_is_no_fault_to_report(mirror: Mirror, number: int) -> None:
    def full(_: object) -> Iterator[Finding]:
        raise OSError(number, os.strerror(number), "/somewhere/page")
        yield

    (finding,) = examine._guarded("space", full, mirror.config)
    assert finding.seen == f"/somewhere/page: {os.strerror(number)}"
    assert "report" not in finding.remedy


def test_an_up_that_works_on_the_mirror_is_known(mirror: Mirror) -> None:
    """Its Prefect API is looked at, also where none is configured."""
    from pypimirror.doctor import prefect

    mirror.root.joinpath(".pypimirror").mkdir(parents=True, exist_ok=True)
    path = mirror.root / ".pypimirror" / "up.lock"
    with prefect_api({"admin/version": "2.1.0", "deployments/filter": []}) as api:
        with lock.hold(path) as held:
            held.name(api)
            found = {each.name: each for each in prefect.check(None, mirror.config)}
        ended = list(prefect.check(None, mirror.config))
    assert found["up"].seen.endswith(f"(process {os.getpid()}); its Prefect API is {api}")
    assert found["prefect"].state is FindingState.WARNING, "it was asked for its version"
    assert [each.state for each in ended] == [FindingState.SKIPPED], (
        "the file is there, and nobody holds it"
    )


def test_an_up_whose_server_is_away_is_told(mirror: Mirror) -> None:
    from pypimirror.doctor import prefect

    mirror.root.joinpath(".pypimirror").mkdir(parents=True, exist_ok=True)
    with lock.hold(mirror.root / ".pypimirror" / "up.lock") as held:
        held.name("http://127.0.0.1:9/api")
        up, server = prefect.check(None, mirror.config)
    assert (up.state, server.state) == (FindingState.OK, FindingState.FAILED)
    assert "pypimirror up" in server.remedy


def test_uv_is_looked_for_where_a_sync_needs_it(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(mirror, "uv") == {}
    mirror.configure(select={"check": True})
    uv.find.cache_clear()
    assert found(mirror, "uv")["uv"].state is FindingState.OK
    uv.find.cache_clear()
    monkeypatch.setattr(uv, "_beside", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    absent = found(mirror, "uv")["uv"]
    assert absent.state is FindingState.FAILED
    assert "pip install 'pypimirror[resolve]'" in absent.seen


def test_what_clients_ask_for_must_fit_on_the_disk(mirror: Mirror) -> None:
    assert found(mirror, "on demand") == {}
    mirror.configure(on_demand={"projects": ["*"], "max_size": "1 MiB"})
    assert found(mirror, "on demand")["on demand"].state == "ok"
    mirror.configure(on_demand={"max_size": "7 EiB"})
    finding = found(mirror, "on demand")["on demand"]
    assert (finding.state, "the disk of" in finding.seen) == ("warning", True)
    mirror.configure(on_demand={"max_size": 0, "keep": "0s"})
    assert "nothing limits" in found(mirror, "on demand")["on demand"].seen
    mirror.configure(on_demand={"projects": ["a b"]})
    assert found(mirror, "on demand")["on demand"].state == "failed"
