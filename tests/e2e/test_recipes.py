"""The recipes of docs/locks.md, run as they stand there, by real tools, with the upstream off.

A lock is made by a tool against the upstream. Then the upstream goes, and the recipe has to install
what the lock names from the mirror.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv

from tests import tools
from tests.corpus import application
from tests.e2e.clients import installed
from tests.e2e.mirror import Mirror
from tests.e2e.serving import serve
from tests.simulator import Simulator

pytestmark = [pytest.mark.thorough, pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = Path(__file__).parents[2] / "docs" / "locks.md"
PLACE = "http://mirror.example.org:8080/"
#: What the locks are of.
SMALL = ("click", "httpx")
_RECIPE = re.compile(r"<!-- recipe: (?P<name>[a-z-]+) -->\n```sh\n(?P<text>.*?)```", re.S)


def recipes() -> dict[str, str]:
    """The recipes of the page, by name."""
    return {found["name"]: found["text"] for found in _RECIPE.finditer(PAGE.read_text())}


@dataclass(frozen=True)
class Site:
    """A mirror that is served, and projects with locks of an upstream that is off."""

    mirror: Mirror
    url: str  #: of the mirror root
    home: Path

    def follow(self, recipe: str, *, python: Path | None = None) -> dict[str, str]:
        """Do what a recipe says in its project; what is installed then."""
        project = self.home / recipe.partition("-relock")[0]
        (project / "pypimirror.toml").write_text(f"[mirror]\ndirectory = '{self.mirror.root}'\n")
        text = recipes()[recipe].replace(PLACE, self.url)
        assert PLACE not in text and self.url in text
        shell(text, project, self.home, python)
        return installed(python or project / ".venv/bin/python")


def shell(text: str, project: Path, home: Path, python: Path | None = None, **more: str) -> None:
    """Run lines of a shell where the tools are programs."""
    places = [
        *([python.parent] if python else []),
        *(tools.environment_of(tool) / "bin" for tool in tools.PACKAGES if tools.is_made(tool)),
        Path(uv.find_uv_bin()).parent,
        Path(sys.executable).parent,
        *map(Path, ("/usr/bin", "/bin")),
    ]
    # No program may take the environment of the tests for the one to install into.
    more = {"PATH": ":".join(map(str, places)), "PIP_REQUIRE_VIRTUALENV": "1", **more}
    tools.run(Path("/bin/sh"), "-euc", text, at=project, home=home / "home", **more)


def project_at(directory: Path, wanted: list[str], more: str = "") -> Path:
    """A project that asks for some others, in the form that most tools read."""
    directory.mkdir()
    lines = ['[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"']
    lines += [f"dependencies = {wanted}", more]
    (directory / "pyproject.toml").write_text("\n".join(lines) + "\n")
    return directory


def make_locks(home: Path, upstream: str) -> None:
    """Have each tool lock a project against the upstream."""
    index, own = f"{upstream}simple/", list(SMALL)
    uvs = project_at(home / "uv", own, "[tool.uv]\npackage = false")
    # As PyPI's own address is written: without a slash at its end.
    shell(f"uv lock -q --default-index {index.rstrip('/')}", uvs, home)
    pylock = home / "pylock"
    pylock.mkdir()
    shell(f"uv export -q --frozen --no-emit-project -o {pylock}/pylock.toml", uvs, home)
    poetry = project_at(home / "poetry", own, "[tool.poetry]\npackage-mode = false")
    shell(f"poetry source add --priority=primary mirror {index}\npoetry lock", poetry, home)
    pdm = project_at(home / "pdm", own, "[tool.pdm]\ndistribution = false")
    shell("pdm lock -q", pdm, home, PDM_PYPI_URL=index)
    pipenv = home / "pipenv"
    pipenv.mkdir()
    wanted = "".join(f'{name} = "*"\n' for name in SMALL)
    (pipenv / "Pipfile").write_text(
        f'[[source]]\nname = "up"\nurl = "{index}"\nverify_ssl = false\n[packages]\n{wanted}'
    )
    shell("pipenv lock", pipenv, home)
    for name, option in (("pip", "--no-emit-index-url"), ("pip-tools", "--emit-index-url")):
        project = home / name
        project.mkdir()
        (project / "requirements.in").write_text("".join(f"{each}\n" for each in SMALL))
        options = f"-q --strip-extras --generate-hashes {option} --index-url {index}"
        shell(f"pip-compile {options} requirements.in", project, home)


@pytest.fixture(scope="module")
def site(application_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A mirror of the application, and locks whose upstream is off."""
    home = tmp_path_factory.mktemp("locks")
    for tool in tools.PACKAGES:
        tools.program(tool)  # or no test
    with Simulator() as simulator:
        simulator.add_directory(application_directory)
        mirror = Mirror(home / "mirror", simulator.url)
        mirror.sync()
    with serve(mirror) as upstream:
        make_locks(home, upstream.removesuffix("simple/"))
    with serve(mirror) as url:
        yield Site(mirror, url.removesuffix("simple/"), home)


@pytest.mark.parametrize("recipe", sorted(recipes()))
def test_the_recipe_installs_what_the_lock_names(site: Site, recipe: str) -> None:
    python = None
    if recipe in ("pip", "pip-relock", "pip-tools", "pylock"):
        directory = site.home / recipe.partition("-relock")[0] / ".venv"
        bare = "--without-pip" if recipe == "pylock" else ""
        shell(f"{sys.executable} -m venv --clear {bare} {directory}", site.home, site.home)
        python = directory / "bin/python"
    if recipe == "pip-relock":  # a line with the index, which beats an option
        text = (site.home / "pip-tools/requirements.txt").read_text()
        assert "\n--index-url http://127.0.0.1:" in text
        (site.home / "pip/requirements.txt").write_text(text)
    assert {*SMALL, "anyio", "h11"} <= site.follow(recipe, python=python).keys()


def test_other_platforms_can_install_all_but_what_has_no_wheel_for_them(site: Site) -> None:
    """Of markupsafe the corpus has a wheel for one machine, an sdist, and nothing to build it."""
    platforms = ("manylinux_2_28_aarch64", "macosx_14_0_arm64", "win_amd64")
    options = [each for platform in platforms for each in ("--platform", platform)]
    options += ["--python", "3.12", "--offline", "--json"]
    native = {"flask", "mako"}
    pure = [name for name in application.own() if name not in native]
    done = site.mirror.run("check", *pure, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    done = site.mirror.run("check", *native, *options)
    assert done.returncode == 1
    for environment in json.loads(done.stdout)["environments"]:
        missing = {each["project"]: each["needed_by"] for each in environment["missing"]}
        assert missing["setuptools"][-1].startswith("markupsafe 3.0.4 (to build")
    done = site.mirror.run("check", "--lock", str(site.home / "pylock/pylock.toml"), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
