"""A mirror to look at: real packages, a failure, and a package that means harm."""

from __future__ import annotations

from typing import Any

from tests.corpus.build import make_provenance, make_wheel
from tests.corpus.fetch import CORPUS
from tests.mirror import Mirror, attest
from tests.simulator import Simulator, Status

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
PUBLISHER = {"kind": "GitHub", "repository": "pallets/click", "workflow": "publish.yaml"}


def fill(mirror: Mirror, simulator: Simulator) -> None:
    """Sync real packages, then one with a failure, and one that means harm."""
    for path in sorted(CORPUS.glob("[!.]*"), key=lambda path: path.name.startswith("click-8.1.7")):
        name = path.name.partition("-")[0].lower().replace("_", "-").replace(".", "-")
        said: dict[str, Any] = {"upload_time": "2026-05-04T10:20:30Z"}
        if path.suffix == ".whl":
            said["core_metadata"] = True
        if path.name.startswith("idna-3.7"):
            said["yanked"] = "Slow on some input"
        if path.name.startswith("click-8.1.7"):
            mirror.sync()
        file = simulator.add_file(name, path.name, path.read_bytes(), **said)
        if path.name.startswith("click-8.1.8-"):
            attest(file, make_provenance(file.filename, bytes(file.content), publisher=PUBLISHER))
        if path.name.startswith("click-8.1.7"):
            simulator.fault(file, Status(404))
    evil = make_wheel(
        "evil",
        "1.0",
        summary=HOSTILE,
        description=f"# {HOSTILE}\n\n[x](javascript:alert(1)) ![y](http://e.example/y.png)",
        lines=[
            "Description-Content-Type: text/markdown",
            f"License: {HOSTILE}",
            f"Author: {HOSTILE}",
            f"Project-URL: {HOSTILE}, javascript:alert(1)",
            f"Project-URL: {HOSTILE}, https://e.example/{HOSTILE}",
            'Requires-Dist: six; python_version > "<script>"',
        ],
    )
    simulator.add_file("evil", *evil, core_metadata=True, yanked=HOSTILE)
    simulator.add_file("evil", *make_wheel("evil", "0.9"), requires_python=">=3,<4")
    mirror.sync(sound=False)
