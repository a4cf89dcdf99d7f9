"""python -m benchmarks.installable: what `pypimirror check` takes, of a lock and of requirements.

The mirror root is made by hand: 200 projects with 65 files each, of five releases. Each requires
the next two. The lock names the 13 files of the newest release of each. Checked are two Pythons on
two platforms, each time in a new process.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROJECTS, RELEASES, ROUNDS = 200, 5, 5
PYTHONS = ("311", "312", "313")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "macosx_14_0_arm64", "win_amd64")
CHECKED = ("--python", "3.12", "--python", "3.13")
CHECKED += ("--platform", "manylinux_2_28_x86_64", "--platform", "win_amd64")


def files(project: str, version: str) -> Iterator[str]:
    """The names of the files of a release."""
    for python in PYTHONS:
        for platform in PLATFORMS:
            yield f"{project}-{version}-cp{python}-cp{python}-{platform}.whl"
    yield f"{project}-{version}.tar.gz"


def build(root: Path) -> list[str]:
    """Make the mirror root; return the lines of a lock."""
    lock = ['lock-version = "1.0"', 'created-by = "benchmarks"']
    for number in range(PROJECTS):
        project = f"project{number}"
        requires = [f"project{n}" for n in (number + 1, number + 2) if n < PROJECTS]
        folder, entries = root / "packages" / project, []
        folder.mkdir(parents=True)
        lock += ["[[packages]]", f'name = "{project}"', f'version = "{RELEASES}.0"']
        wheels = []
        for release in range(1, RELEASES + 1):
            for name in files(project, f"{release}.0"):
                digest = hashlib.sha256(name.encode()).hexdigest()
                (folder / name).write_text(name)
                url = f"../../packages/{project}/{name}"
                entries.append({"filename": name, "url": url, "hashes": {"sha256": digest}})
                said = f'url = "https://example.org/{name}", hashes = {{ sha256 = "{digest}" }}'
                if name.endswith(".whl"):
                    lines = [f"Metadata-Version: 2.4\nName: {project}\nVersion: {release}.0"]
                    lines += [f"Requires-Dist: {each}" for each in requires]
                    (folder / f"{name}.metadata").write_text("\n".join(lines) + "\n")
                    wheels.append(f"{{ {said} }}" if release == RELEASES else "")
                elif release == RELEASES:
                    lock.append(f"sdist = {{ {said} }}")
        lock.append(f"wheels = [{', '.join(filter(None, wheels))}]")
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": entries}
        place = root / "simple" / project / "index.v1_json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(page))
    return lock


def measure(home: Path, *arguments: str) -> float:
    """Seconds of the median of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        command = [sys.executable, "-m", "pypimirror", "check", *arguments, *CHECKED, "--quiet"]
        subprocess.run(command, cwd=home, check=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    """Build, measure, tell."""
    with tempfile.TemporaryDirectory(prefix="installable-") as scratch:
        home = Path(scratch)
        (home / "pypimirror.toml").write_text('[mirror]\ndirectory = "mirror"\n')
        (home / "pylock.toml").write_text("\n".join(build(home / "mirror")) + "\n")
        print(f"a lock of {PROJECTS} releases: {measure(home, '--lock', 'pylock.toml'):.2f} s")
        print(f"a requirement that needs {PROJECTS}: {measure(home, 'project0'):.2f} s")


if __name__ == "__main__":
    main()
