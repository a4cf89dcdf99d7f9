"""The wheel, installed in an environment outside the checkout: `init`, `sync`, and the flow.

Only the upstream, the tests' simulator with real packages, runs from the checkout. Ends with 1 at
the first fault. Without a wheel, it builds one. With `--dependencies here`, dependencies are not
installed but taken from this environment. Then no flow runs, since a flow needs Prefect's programs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from tests.corpus.fetch import CORPUS  # noqa: E402
from tests.flows.stack import Stack  # noqa: E402
from tests.up.conftest import running_up  # noqa: E402

WHERE = "import pypimirror.system.project as p; print(p.__file__); print(p.project_directory())"
STRANGERS = "import flows, tasks"  # nothing of these names may be importable


def expect(condition: object, what: str) -> None:
    """Report a check that holds; end the program if it does not."""
    if not condition:
        raise SystemExit(f"wheel: not so: {what}")
    print(f"  {what}", flush=True)


def run(*command: str | Path) -> None:
    """Run a command of the build, with this machine's settings."""
    subprocess.run([str(part) for part in command], check=True, cwd=CHECKOUT)


def install(work: Path, wheel: Path | None, dependencies: str) -> Path:
    """Install a wheel, or one built from the checkout; return the directory of its programs."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    if wheel is None:
        run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", work / "dist", CHECKOUT)
        (wheel,) = (work / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", work / "venv")
    programs = work / "venv" / "bin"
    into = (*pip, "--python", programs / "python", "install", "--quiet")
    if dependencies == "index":
        run(*into, wheel)
        return programs
    run(*into, "--no-deps", "--no-index", wheel)
    # A file of paths in this environment, such as that of an editable install, has no effect there.
    (site,) = (work / "venv").glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


@contextmanager
def upstream() -> Iterator[str]:
    """The simulator; its address."""
    command = [sys.executable, "-m", "tests.simulator", "--directory", str(CORPUS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def check_place(stack: Stack) -> None:
    """Check that the installed program is used, and not the checkout."""
    python = stack.programs / "python"
    module, project = stack.run(python, "-P", "-c", WHERE).stdout.split()
    expect(Path(module).is_relative_to(stack.programs.parent), "the wheel is what is imported")
    stack.project = Path(project)
    expect(stack.run(python, "-P", "-c", STRANGERS, code=None).returncode == 1, "nothing else is")


def check_sync(stack: Stack, mirror: Path, trigger: str, *options: str) -> dict[str, Any]:
    """Check that a sync ends well, and what it leaves."""
    began = time.monotonic()
    result: dict[str, Any] = stack.pypimirror("sync", *options)
    expect(result["state"] == "completed", f"{' '.join(('sync', *options))}: {result['state']}")
    print(f"  took {time.monotonic() - began:.1f} s")
    last = stack.pypimirror("runs", "show", "last")
    expect(last["trigger"] == trigger, f"the history knows what started it: {trigger}")
    wheels = list(mirror.glob("packages/six/six-*.whl"))
    expect(wheels, f"{len(wheels)} wheels of six are in the mirror")
    expect((mirror / "simple/six/index.html").is_file(), "so is its page")
    return result


def check_inline(stack: Stack, mirror: Path, url: str) -> None:
    """Make a mirror with the commands alone."""
    print("Inline", flush=True)
    check_place(stack)
    stack.pypimirror("init", "six", "idna", "--upstream", url)
    stack.pypimirror("init", "six", "idna", "--upstream", url, code=2)
    result = check_sync(stack, mirror, "inline", "--inline")
    expect(result["counts"]["files_verified"] > 0, "files were verified")
    result = check_sync(stack, mirror, "inline", "--inline")
    expect(result["counts"]["files_downloaded"] == 0, "nothing is downloaded twice")


def check_flow(stack: Stack, mirror: Path) -> None:
    """Make the same mirror through Prefect."""
    print("As a flow, with everything on one machine", flush=True)
    ports = ("--port", "0", "--prefect-port", "0")
    config = mirror.parent / "pypimirror.toml"
    with running_up(config, *ports, programs=stack.programs) as up:
        stack.environment["PREFECT_API_URL"] = up.said["prefect"]
        check_sync(stack, mirror, "prefect")
        stack.prefect("deployment", "run", "sync/adhoc", "--watch")
        last = stack.pypimirror("runs", "show", "last")
        expect(
            (last["trigger"], last["state"]) == ("deployment", "completed"),
            "a deployment from the wheel's project directory runs",
        )
        up.process.terminate()
        expect(up.process.wait(60) == 0, "it ends in order")


def main() -> None:
    """Check everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", nargs="?", type=Path)
    parser.add_argument("--dependencies", choices=("index", "here"), default="index")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheel-") as directory, upstream() as url:
        work = Path(directory)
        stack = Stack(work, install(work, asked.wheel, asked.dependencies))
        check_inline(stack, work / "mirror", url)
        if asked.dependencies == "index":
            check_flow(stack, work / "mirror")


main()
