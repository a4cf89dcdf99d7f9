"""The documentation says what is true: it is held against the code, the files and itself."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from pypi_simple import PYPI_SIMPLE_ENDPOINT
from typer.testing import CliRunner

from docs.generate import __main__
from docs.generate.commands import walk
from docs.generate.configuration import sections
from docs.generate.schemas import DOCUMENTS
from pypimirror.catalog.schema import metadata
from pypimirror.catalog.states import MOVES, State
from pypimirror.cli.commands import app
from pypimirror.cli.errors import OF_STATE, Exit
from pypimirror.config.settings import Config, ConfigError, parse
from pypimirror.domain.model import Reason

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RECORDS = sorted(DOCS.glob("decisions/[0-9]*.md"))
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.glob("*.md"),
        *DOCS.glob("decisions/*.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]^]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:pypimirror|flows|tasks|tests|migrations|benchmarks|docs|deploy)/[\w./*-]*")
#: What a record of a decision consists of.
_PARTS = ["Context", "Decision", "Consequences"]
#: Programs that the shell blocks may call; what follows them is not ours to check.
_OTHERS = {
    *("cd", "cp", "docker", "export", "jq", "ln", "mv", "pip", "poetry", "prefect", "python"),
    *("pdm", "pip-compile", "pip-sync", "pipenv"),  # docs/locks.md
    *("python3", "sqlite3", "systemctl", "systemd-sysusers", "systemd-tmpfiles", "uv"),
}


def read(path: Path) -> str:
    return path.read_text("utf-8")


def architecture() -> str:
    return read(DOCS / "architecture.md")


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def rows(text: str, *head: str) -> list[list[str]]:
    """The rows of the table with this head."""
    _, found, after = text.partition(f"| {' | '.join(head)} |\n")
    assert found, f"there is no table {head}"
    lines = after.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def shell_commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each command in a shell block as its words, with the page that it stands on."""
    for page in PAGES:
        for language, block in _FENCE.findall(read(page)):
            if language in ("sh", "shell", "bash", "console"):
                text = block.replace("\\\n", " ").replace("|\n", "| ")
                for line in filter(None, text.splitlines()):
                    yield from ((page.name, words) for words in commands_of(line))


def commands_of(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of a pipeline, without the variables that are set for them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    words = [word for word in lexer if not re.match(r"[A-Z_]+=", word)]
    if words[:1] == ["runuser"]:
        words = words[words.index("--") + 1 :]
    while words:
        end = words.index("|") if "|" in words else len(words)
        yield tuple(words[:end])
        words = words[end + 1 :]


# --- What is generated ----------------------------------------------------------------------------


def test_what_is_generated_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--check"]) == 0, capsys.readouterr().err


def test_what_is_not_current_is_said_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(__main__, "DOCS", tmp_path)
    page = tmp_path / "some.md"
    page.write_text("before\n<!-- generated: moves -->\nold\n<!-- end -->\nafter\n")
    assert __main__.main(["--check"]) == 1
    assert page.read_text().splitlines()[2] == "old"
    assert {line.split()[0] for line in capsys.readouterr().err.splitlines()} == {
        "commands.md",
        "configuration.md",
        "some.md",
        *(f"{name}.schema.json" for name in DOCUMENTS),
    }
    assert __main__.main([]) == 0
    assert "`wanted`" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
    assert __main__.main(["--check"]) == 0


def test_every_configuration_key_is_explained() -> None:
    text = read(DOCS / "configuration.md")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    told = {part.split("`")[1].strip("[]"): part for part in parts}
    known = {".".join(names): (model, own) for names, model, _, own in sections(Config)}
    assert told.keys() == known.keys()
    assert {"mirror", "upstream", "select", "select.rules"} <= known.keys()
    for name, (model, own) in known.items():
        assert re.findall(r"^\| `(\w+)` \|", told[name], re.MULTILINE) == own
        assert own
        assert all(field.description for field in model.model_fields.values())


def test_the_environment_variables_are_those_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pypimirror.toml"
    upstream = [{"url": "http://127.0.0.1/simple/"}]
    names = re.findall(r"\| `(PYPIMIRROR_\w+)` \|$", read(DOCS / "configuration.md"), re.MULTILINE)
    assert len(names) > 15
    for name in names:
        section, key = name.removeprefix("PYPIMIRROR_").lower().split("__")
        with monkeypatch.context() as environment:
            environment.setenv(name, "?")
            try:
                config = parse({"upstream": upstream}, file)
            except ConfigError:
                continue  # it was read, and is not good enough for a number
            assert str(getattr(getattr(config, section), key)).endswith("?"), name
    monkeypatch.setenv("PYPIMIRROR_SELECT__PROJECTS", '["six"]')
    monkeypatch.setenv("PYPIMIRROR_UPSTREAM", '[{"name": "a", "url": "http://127.0.0.1/simple/"}]')
    monkeypatch.setenv("PYPIMIRROR_DELETE__MAX_SHARE", "1")
    config = parse({"select": {"projects": ["idna"]}}, file)
    assert config.select.projects == ("six",)
    assert [upstream.name for upstream in config.upstream] == ["a"]
    assert config.delete.max_share == 1


@pytest.mark.parametrize(
    "block",
    [b for page in PAGES for language, b in _FENCE.findall(read(page)) if language == "toml"],
)
def test_configuration_examples_are_valid(block: str, tmp_path: Path) -> None:
    values = tomllib.loads(block)
    if "tool" not in values:
        values.setdefault("upstream", [{"url": "http://127.0.0.1/simple/"}])
        parse(values, tmp_path / "pypimirror.toml")


def test_every_command_is_explained_with_all_its_options() -> None:
    text = read(DOCS / "commands.md")
    sections = {
        part.split("`")[1]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]
        if part.startswith("`")
    }  # fmt: skip
    found = {path: parameters for path, _, parameters in walk()}
    assert sections.keys() == found.keys()
    assert {"pypimirror init", "pypimirror sync", "pypimirror runs show"} <= found.keys()
    common = text.partition("## ")[0]
    for path, parameters in found.items():
        for parameter in parameters:
            assert parameter.help, f"{path}: {parameter.name} has no help"
            if parameter.param_type_name == "option":
                for option in parameter.opts:
                    assert option in sections[path] or option in common


# --- Tables that are held against the code --------------------------------------------------------


def test_the_table_of_moves_is_the_codes() -> None:
    told = {
        state: set(_CODE.findall(targets))
        for state, _, targets in rows(architecture(), "state", "meaning", "may become")
    }
    assert told == {
        f"`{state.label}`": {target.label for target in MOVES[state]} for state in State
    }


@pytest.mark.parametrize("page", ["commands.md", "operations.md"])
def test_the_table_of_exit_codes_is_the_codes(page: str) -> None:
    codes = {int(code) for code, _ in rows(read(DOCS / page), "code", "meaning")}
    assert codes == {code.value for code in Exit}


def test_the_exit_codes_of_states_are_the_codes() -> None:
    text = " ".join(read(DOCS / "commands.md").split())
    for state, code in OF_STATE.items():
        words = f"exit code {code.value}" if state == "completed" else str(code.value)
        assert f"`{state}` ({words})" in text


def test_the_table_of_reasons_is_the_codes() -> None:
    table = rows(read(DOCS / "operations.md"), "reason", "meaning", "what to do")
    told = [reason for reason, *_ in table]
    assert told == [f"`{reason.value}`" for reason in Reason]


def test_the_catalogs_tables_are_the_schemas() -> None:
    told = {name for first, _ in rows(architecture(), "table", "a row is")
            for name in _CODE.findall(first)}  # fmt: skip
    assert told == set(metadata.tables)


def test_every_dependency_has_a_line_on_why() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))
    groups = project.get("dependency-groups", {}).values()
    extras = project["project"]["optional-dependencies"].values()
    needed = [
        *project["project"]["dependencies"],
        *(r for group in [*groups, *extras] for r in group if isinstance(r, str)),
    ]
    told: dict[str, str] = {}
    for names, why in rows(architecture(), "dependency", "why this one, and why these bounds"):
        told |= dict.fromkeys(_CODE.findall(names), why)
    for requirement in map(Requirement, needed):
        assert told.get(requirement.name), f"{requirement.name} has no line in architecture.md"
        for specifier in requirement.specifier:
            if specifier.operator == "<":
                assert specifier.version in told[requirement.name], f"why {requirement}?"


def test_all_ten_promises_are_kept_somewhere() -> None:
    _, _, after = architecture().partition("## The promises\n")
    promises = re.split(r"^\d+\. ", after.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    assert len(promises) == 10
    for promise in promises:
        assert re.search(r"`[^`]*tests/[^`]+`", promise), promise


def test_every_decision_is_in_the_index_and_has_the_three_parts() -> None:
    index = rows(read(DOCS / "decisions/README.md"), "number", "decision")
    told = []
    for record in RECORDS:
        text = read(record)
        number, title = re.fullmatch(r"# (\d+)\. (.+)", text.splitlines()[0]).groups()  # type: ignore[union-attr]
        assert record.name.startswith(f"{int(number):04d}-")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == _PARTS, record.name
        told.append([f"[{number}]({record.name})", title])
    assert index == told


def test_a_newcomer_reads_the_architecture_in_ten_minutes() -> None:
    """At some 250 words a minute. What does not fit is a record of a decision, or a docstring."""
    assert len(architecture().split()) < 2600


# --- Links, paths and commands --------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(prose(text))
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(read(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(read(target)), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_are_named_exist(page: Path) -> None:
    for code in _CODE.findall(prose(read(page))):
        if _PATH.fullmatch(code):
            assert list(ROOT.glob(code.rstrip("/"))), f"{page.name} names {code}"


def test_every_module_folder_is_in_the_house() -> None:
    house = architecture().partition("### Arrows")[0]
    package = ROOT / "pypimirror"
    for path in [*package.iterdir(), *(package / "pipeline").iterdir()]:
        if any(path.glob("*.py")):
            name = f"{path.relative_to(ROOT)}/"
            assert f"`{name}`" in house, f"{name} is not in the house"


@pytest.mark.parametrize(
    ("page", "words"),
    sorted(set(shell_commands())),
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_commands_are_ones_that_exist(page: str, words: tuple[str, ...]) -> None:
    program, arguments = Path(words[0]).name, words[1:]
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE)
        assert set(arguments) <= set(targets)
    elif program == "pypimirror":
        result = CliRunner().invoke(app, [*arguments, "--help"])
        assert result.exit_code == 0, f"{page}: {words}: {result.output}"
        assert "Usage" in result.output
    else:
        assert program in _OTHERS, f"{page}: {words}"


def test_no_page_names_pypis_host() -> None:
    host = urlsplit(PYPI_SIMPLE_ENDPOINT).hostname
    assert host
    for page in PAGES:
        assert host not in read(page), page.name


def test_the_last_complete_sync_is_one_of_the_whole_mirror() -> None:
    """The command of operations.md, on runs that look like it and are not."""
    if shutil.which("jq") is None:
        pytest.skip("there is no jq")
    text = read(DOCS / "operations.md")
    found = re.search(r"^ +jq '(.*?)'$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    whole = {"command": "sync", "state": "completed", "arguments": [], "retry_of": None}
    partial = [{"arguments": ["six"]}, {"retry_of": "x"}, {"state": "failed"}, {"command": "adopt"}]
    runs = [{**whole, **other, "ended_at": n} for n, other in enumerate([*partial, {}, {}])]
    told = subprocess.run(
        ["jq", found[1]],
        input=json.dumps({"runs": runs}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(len(partial))
