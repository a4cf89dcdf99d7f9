"""`deploy/` says what is true: its commands, options, variables and keys exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings.legacy import _get_settings_fields
from prefect.settings.models.root import Settings
from typer.testing import CliRunner

from pypimirror.cli.commands import app
from pypimirror.config.settings import Config, load
from pypimirror.metrics import exposition
from pypimirror.serve.connections import MOST, RESERVE
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAMS = Path(sys.executable).parent

#: Those that are not pypimirror's, and not Prefect's settings.
OTHERS = {"DO_NOT_TRACK", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def directives(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command that is run, with the place that it stands in."""
    for unit in UNITS:
        for line in directives(unit, "ExecStart"):
            program, *words = shlex.split(line)
            yield unit.name, [program.removeprefix("/opt/pypimirror/bin/"), *words]
    for name, service in compose()["services"].items():
        if "command" in service:
            yield name, service["command"]
        test = service["healthcheck"]["test"]
        if test[1] == "pypimirror":
            yield f"{name} health", test[1:]
    (line,) = re.findall(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    yield "Dockerfile", yaml.safe_load(line)


COMMANDS = list(commands())


@pytest.mark.parametrize(("place", "words"), COMMANDS, ids=[place for place, _ in COMMANDS])
def test_commands_are_ones_that_exist(place: str, words: list[str]) -> None:
    program, *arguments = words
    if program == "pypimirror":
        result = CliRunner().invoke(app, [*arguments, "--help"])
        assert (result.exit_code, "Usage" in result.output) == (0, True), result.output
        return
    assert program == "prefect"
    options = [word for word in arguments if word.startswith("--")]
    verbs = [word for word in arguments if word.isalpha()]
    assert verbs == ["server", "start"]
    done = subprocess.run(
        [PROGRAMS / "prefect", *verbs, "--help"], capture_output=True, text=True, check=True
    )
    assert all(re.search(rf"\s{option}\b|{option}\b", done.stdout) for option in options if
               option != "--no-prompt")  # fmt: skip


def variables() -> Iterator[str]:
    for unit in UNITS:
        for line in directives(unit, "Environment"):
            yield from (word.partition("=")[0] for word in line.split())
        text = " ".join(re.findall(r"^#(.*)$", unit.read_text(), re.MULTILINE))
        yield from re.findall(r"\b(?:PREFECT|PYPIMIRROR)_\w+", text)
    for service in compose()["services"].values():
        yield from (n for n in service.get("environment", {}) if not n.startswith("POSTGRES_"))
    dockerfile = (DEPLOY / "Dockerfile").read_text().replace("\\\n", "")
    for line in re.findall(r"^ENV (.*)$", dockerfile, re.MULTILINE):
        yield from (word.partition("=")[0] for word in line.split())


@pytest.mark.parametrize("name", sorted(set(variables())))
def test_variables_are_ones_that_are_read(name: str) -> None:
    if name.startswith("PYPIMIRROR_"):
        section, key = name.removeprefix("PYPIMIRROR_").lower().split("__")
        model: Any = Config.model_fields[section].annotation
        assert key in model.model_fields
    elif name.startswith("PREFECT_"):
        known = _get_settings_fields(Settings)
        # Those with two names are known by one of them.
        others = {name.replace("PREFECT_UI_", "PREFECT_SERVER_UI_")}
        assert {name, *others} & known.keys()
    else:
        assert name in OTHERS


def test_the_example_configuration_is_valid() -> None:
    config = load(DEPLOY / "pypimirror.toml")
    volumes = compose()["services"]["worker"]["volumes"]
    assert f"mirror:{config.directory}" in volumes
    assert "./pypimirror.toml:/etc/pypimirror.toml:ro" in volumes


def test_the_parts_of_compose_fit_together() -> None:
    found = compose()
    services = found["services"]
    named = {v.partition(":")[0] for s in services.values() for v in s.get("volumes", [])}
    assert {name for name in named if not name.startswith("./")} == set(found["volumes"])
    for name in named:
        assert not name.startswith("./") or (DEPLOY / name).is_file()
    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        assert service["healthcheck"]["test"]
        assert service["restart"] == "unless-stopped"
    assert services["worker"]["environment"]["PREFECT_API_URL"].startswith("http://server:4200/")
    for name in ("server", "worker", "web"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["ulimits"]["nofile"] >= 2 * MOST + RESERVE


def test_what_the_image_is_built_from_is_let_through() -> None:
    allowed = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert all((ROOT / name).exists() for name in allowed)
    project = (ROOT / "pyproject.toml").read_text()
    assert set(re.findall(r'"/([\w.]+)"', project)) <= allowed, "what the sdist has"


def test_units_are_hardened_and_stop_in_order() -> None:
    assert len(UNITS) == 6
    for unit in UNITS:
        assert directives(unit, "User") == ["pypimirror"]
        assert directives(unit, "NoNewPrivileges") == ["yes"]
        assert directives(unit, "ProtectSystem") == ["strict"]
        assert int(directives(unit, "LimitNOFILE")[0]) >= 2 * MOST + RESERVE
        writes = "pypimirror sync" in unit.read_text() or " up " in unit.read_text()
        assert not writes or directives(unit, "ReadWritePaths") == ["/srv/mirror"]
        if " up " in directives(unit, "ExecStart")[0]:
            assert directives(unit, "Type") == ["notify"]
            assert directives(unit, "KillMode") == ["mixed"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """With the programs of this environment: it looks whether they are there."""
    copies = []
    for unit in (DEPLOY / "systemd").glob("*.[st][ei][rm]*"):
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/pypimirror/bin", str(PROGRAMS)))
        copies.append(str(copy))
    assert len(copies) == 8
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *copies], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_rules_for_prometheus_name_metrics_that_there_are(
    simulator: Simulator, tmp_path: Path
) -> None:
    mirror = Mirror(tmp_path, simulator)
    offer(simulator, "six", "1.0")
    mirror.sync()
    there = re.findall(r"^(\w+)[{ ]", exposition.render(mirror.config).decode(), re.MULTILINE)
    rules = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = {
        name for expression in expressions for name in re.findall(r"pypimirror_\w+", expression)
    }
    assert len(expressions) == 5
    assert named <= set(there)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here")
def test_prometheus_understands_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", DEPLOY / "prometheus.yaml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
