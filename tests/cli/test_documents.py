"""The published schemas hold for what each command really prints, and say everything in it."""

from __future__ import annotations

import json
import select
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from docs.generate.commands import walk
from docs.generate.schemas import DOCUMENTS, schema
from flows.deployments import Applied
from pypimirror.cli.actions import operating
from pypimirror.up.parts import plan
from tests.cli.conftest import Command, Start
from tests.mirror import Mirror, offer
from tests.simulator import Corrupt, Simulator, Status

#: Keys of times.
TIMES = {"at", "until", "next", "started_at", "ended_at"}
#: Commands that print a document which is also another's.
SAME = {"sync": "run", "retry": "run", "verify": "run"}


def strict(part: Any) -> Any:
    """A schema that lets nothing else stand in an object that has named keys."""
    if isinstance(part, list):
        return [strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: strict(value) for key, value in part.items()}
    return found | {"additionalProperties": False} if "properties" in part else found


def check(name: str, document: Any) -> None:
    jsonschema.validate(document, strict(schema(DOCUMENTS[name])))
    for key, value in times(document):
        other = None if value[0] is None else datetime.fromisoformat(value[1]).timestamp()
        assert other == pytest.approx(value[0], abs=0.001), key


def times(part: Any) -> Iterator[tuple[str, tuple[float | None, str]]]:
    """Yield each time that is told twice; a time that is told once has no other to be held to."""
    if isinstance(part, list):
        for each in part:
            yield from times(each)
    elif isinstance(part, dict):
        for key, value in part.items():
            assert key not in TIMES or (f"{key}_iso" in part), key
            if key.endswith("_iso"):
                yield key, (part[key.removesuffix("_iso")], value)
            yield from times(value)


@pytest.fixture
def some(mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror with a good file, one that is not there, one in quarantine, and one to come."""
    offer(simulator, "six", "1.0")
    simulator.fault(offer(simulator, "six", "1.1")[0], Status(404))
    simulator.fault(offer(simulator, "six", "1.2")[0], Corrupt())
    offer(simulator, "six", "1.3", upload_time="2999-01-01T00:00:00Z")
    mirror.select("six", older_than="1h")
    return mirror


def test_each_command_prints_what_its_schema_says(
    some: Mirror, run: Command, simulator: Simulator
) -> None:
    bad = "six-1.2-py3-none-any.whl"
    (some.base / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "tests"\npackages = []\n'
    )
    for name, *arguments in (
        ("sync-dry-run", "sync", "--dry-run"),
        ("run", "sync", "--inline"),
        ("status", "status"),
        ("status-project", "status", "six"),
        ("runs", "runs"),
        ("runs-show", "runs", "show", "last"),
        ("runs-show", "runs", "show", "last", "--failures"),
        ("runs-show", "runs", "show", "last", "--files"),
        ("explain", "explain", "six"),
        ("check", "check", "six==7", "--offline"),
        ("relock", "relock", "pylock.toml"),
        ("quarantine", "quarantine"),
        ("quarantine-explain", "quarantine", "explain", bad),
        ("quarantine-release", "quarantine", "release", bad),
        ("quarantine-clear", "quarantine", "clear"),
        ("run", "retry", "--inline"),
        ("run", "verify"),
        ("adopt", "adopt"),
        ("metrics", "metrics"),
        ("doctor", "doctor"),
        ("init", "init", "six", "--config", "other.toml"),
        ("error", "status", "nothing"),
        ("error", "nonsense"),
    ):
        document = run(*arguments, "--json").json
        assert ("error" in document) == (name == "error"), document
        check(name, document)


def test_nothing_to_do_is_told_as_a_run_is(
    mirror: Mirror, simulator: Simulator, start: Start
) -> None:
    """Another way through the code, which must not be seen."""
    offer(simulator, "six", "1.0")
    mirror.sync()
    told, _ = start("sync", "--inline", "--json").communicate(timeout=60)
    check("run", json.loads(told))
    told, _ = start("retry", "--json").communicate(timeout=60)
    check("run", json.loads(told))


def test_adopt_says_what_became_of_options(tmp_path: Path, run: Command) -> None:
    (tmp_path / "tree" / "simple").mkdir(parents=True)
    conf = tmp_path / "bandersnatch.conf"
    conf.write_text(f"[mirror]\ndirectory = {tmp_path / 'tree'}\n")
    document = run("adopt", "--bandersnatch", str(conf), "--dry-run", "--json").json
    check("adopt-dry-run", document)


def test_servers_say_where_they_are(
    some: Mirror, run: Command, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    run("sync", "--inline", "--quiet")
    server = start("serve", "--port", "0", "--json")
    assert server.stdout is not None
    assert select.select([server.stdout], [], [], 60)[0]
    told = json.loads(server.stdout.readline())
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=60)
    check("serve", told)
    some.configure(prefect={"port": 0}, up={"port": 0})
    parts = plan(some.config, some.file, web=True, server=True)
    capsys.readouterr()
    operating._announce(parts, some.config, 0, as_json=True, quiet=False)
    check("up", json.loads(capsys.readouterr().out))


def test_what_is_deployed_is_told() -> None:
    made = Applied(("pypimirror",), {"sync/scheduled": "17 * * * *"}, ("a run failed",))
    check("deploy", made.as_json())


def test_every_command_has_a_schema_and_a_case() -> None:
    """A command that is added here without one is found out."""
    commands = {"-".join(path.split()[1:]) for path, *_ in walk()}
    assert {SAME.get(name, name) for name in commands} <= set(DOCUMENTS)
    assert set(DOCUMENTS) - commands == {
        "run", "error", "adopt-dry-run", "sync-dry-run", "search", "status-page", "status-project",
    }  # fmt: skip


def test_a_schema_refuses_what_is_not_the_document(some: Mirror, run: Command) -> None:
    document = run("runs", "--json").json
    document["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check("runs", document)
