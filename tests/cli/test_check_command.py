"""`pypimirror check`: what is missing, who needs it, whether an upstream has it, what brings it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

LINUX = ("--python", "3.12", "--platform", "manylinux_2_28_x86_64")


@pytest.fixture
def offered(mirror: Mirror, simulator: Simulator, run: Command) -> Mirror:
    """A mirror that has `app` and not all that it needs."""
    name, content = make_wheel("app", "1.0", requires=["base>=1", "native"])
    simulator.add_file("app", name, content, core_metadata=True)
    offer(simulator, "base", "1.0", "2.0")
    for tag in ("cp312-cp312-win_amd64", "cp312-cp312-manylinux2014_x86_64"):
        simulator.add_file("native", *make_wheel("native", "1.0", tag=tag), core_metadata=True)
    mirror.select("app", "native", platforms=["win_amd64", "any"])
    assert run("sync", "--inline", "--quiet").code == 0
    return mirror


def test_for_each_thing_missing_it_is_told_who_has_it_and_what_brings_it(
    run: Command, offered: Mirror
) -> None:
    found = run("check", "app", *LINUX, "--json")
    (environment,) = found.json["environments"]
    assert (found.code, found.json["complete"], environment["state"]) == (1, False, "missing")
    base, native = sorted(environment["missing"], key=lambda each: each["project"])
    assert (base["kind"], base["requirement"], base["needed_by"]) == (
        "project",
        "base>=1",
        ["app 1.0"],
    )
    assert base["upstream"] == "sim0 has base 2.0"
    assert '[select] projects: add "base>=1"' in base["remedy"]
    assert native["kind"] == "platform"
    assert native["upstream"] == "sim0 has native 1.0"
    assert "select.platforms: declare Python 3.12, manylinux_2_28_x86_64" in native["remedy"]
    told = run("check", "app", *LINUX)
    assert told.code == 1
    for text in ("2 missing", "needed by app 1.0", "sim0 has base 2.0", "to bring it:"):
        assert text in told.out

    # What no upstream has is told as well.
    (environment,) = run("check", "nosuch", "app>2", *LINUX, "--json").json["environments"]
    found = {each["project"]: each["upstream"] for each in environment["missing"]}
    assert found == {
        "nosuch": "no upstream has a project of this name (asked sim0)",
        "app": "sim0 has nothing that fits either",
    }


def test_a_wheel_for_all_platforms_needs_the_platform_any(run: Command, offered: Mirror) -> None:
    """Fault: the remedy was to declare a platform that was declared."""
    offered.select("base", platforms=["manylinux_2_28_x86_64"])
    run("sync", "--inline", "--quiet")
    (environment,) = run("check", "base", *LINUX, "--json").json["environments"]
    (base,) = environment["missing"]
    assert base["remedy"].startswith('select.platforms: add "any"')


def test_only_pages_of_what_is_missing_are_asked_for(
    run: Command, offered: Mirror, simulator: Simulator
) -> None:
    simulator.empty_log()
    run("check", "app", *LINUX)
    assert {each.path for each in simulator.requests} == {"/simple/base/", "/simple/native/"}
    simulator.empty_log()
    assert run("check", "app", "--offline", *LINUX).code == 1
    assert run("check", "native", "--python", "3.12", "--platform", "win_amd64").code == 0
    assert not simulator.requests


def test_an_upstream_that_is_away_is_told_and_changes_no_answer(
    run: Command, offered: Mirror, simulator: Simulator
) -> None:
    simulator.close()
    found = run("check", "app", *LINUX, "--json")
    (environment,) = found.json["environments"]
    assert found.code == 1
    assert len(environment["missing"]) == 2
    assert {each["upstream"].partition(":")[0] for each in environment["missing"]} == {
        "no upstream could be asked"
    }


def test_a_lock_is_held_against_what_is_here(run: Command, offered: Mirror) -> None:
    file = offered.page("app")["files"][0]
    lock = offered.base / "pylock.toml"
    for digest, code in ((file["hashes"]["sha256"], 0), ("0" * 64, 1)):
        lock.write_text(
            'lock-version = "1.0"\ncreated-by = "tests"\n[[packages]]\nname = "app"\n'
            f'version = "1.0"\n[[packages.wheels]]\nname = "{file["filename"]}"\n'
            f'url = "https://example.org/{file["filename"]}"\nhashes = {{ sha256 = "{digest}" }}\n'
        )
        found = run("check", "--lock", "pylock.toml", "--json")
        assert found.code == code
    (missing,) = found.json["environments"][0]["missing"]
    assert (missing["kind"], missing["file"]) == ("digest", file["filename"])
    # A requirements file with digests is a lock, too: pip demands one of every file.
    (offered.base / "wanted.txt").write_text(f"app==1.0 --hash=sha256:{'0' * 64}\n")
    (told,) = run("check", "-r", "wanted.txt", *LINUX, "--offline", "--json").json["environments"]
    assert [each["kind"] for each in told["missing"]] == ["digest"]
    # Without arguments, it is about what is selected.
    offered.configure(select={"python": ["3.12"]})
    found = run("check", "--offline", "--json")
    assert [(each["subject"], each["platform"]) for each in found.json["environments"]] == [
        ("[select] projects", "win_amd64")
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "names nothing that can be installed"),
        (("a b",), "is no requirement"),
        (("-r", "nowhere.txt"), "nowhere.txt"),
        (("--lock", "nowhere.txt"), "nowhere.txt"),
        (("app", "--python", "three"), "three"),
        (("app", "--platform", "beos"), "beos"),
    ],
)
def test_wrong_use_is_told(
    run: Command, mirror: Mirror, arguments: tuple[str, ...], said: str
) -> None:
    (mirror.root / "simple/app").mkdir(parents=True)
    found = run("check", *arguments)
    assert found.code == 2 and said in found.err


def test_where_nothing_is_mirrored_yet_the_next_step_is_told(run: Command, mirror: Mirror) -> None:
    mirror.select("six")
    found = run("check", "six")
    assert found.code == 2 and "pypimirror sync" in found.err
