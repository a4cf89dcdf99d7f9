"""The mirrors among the contestants: pypimirror, inline and through Prefect, and bandersnatch."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks import check, measure
from benchmarks.contestant import Contestant, Scenario, Site
from benchmarks.measure import Cost
from benchmarks.tools import ENVIRONMENT, ROOT, bandersnatch_python, why_no_bandersnatch
from benchmarks.upstream import free_port
from tests.environment import isolated

_MIRRORS = frozenset(Scenario) - {Scenario.START}
_SERVER_PATIENCE = 120.0  #: seconds in which Prefect's server must answer


class Pypimirror(Contestant):
    """pypimirror in one process and its download workers, without Prefect."""

    name = "pypimirror"
    settings = ""  #: more lines of the section [download]

    def missing(self, scenario: Scenario, site: Site) -> str | None:  # noqa: ARG002
        """Return why it does not take part."""
        if scenario not in _MIRRORS:
            return ""
        if scenario in (Scenario.HASH, Scenario.QUICK):
            usage = verify_help()
            if usage is None:
                return "not there yet: no command verify"
            if scenario is Scenario.QUICK and "--quick" not in usage:
                return "not there yet: no verify --quick"
        return None

    def prepare(self, scenario: Scenario, site: Site) -> None:
        """Write the configuration and prepare the scenario."""
        home = self.home(site)
        if scenario is Scenario.PUBLISH:
            # All pages are in one form; the other form is what is published.
            self._configure(site, ["html"])
            command = self.command(Scenario.SAME, site)
            environment = self.environment(site)
            subprocess.run(
                command, cwd=home, env=environment, check=True, capture_output=True, timeout=900
            )
        elif scenario is Scenario.LOST:
            shutil.rmtree(home / "mirror" / ".pypimirror")
        self._configure(site, ["html", "json"])

    def _configure(self, site: Site, formats: list[str]) -> None:
        (self.home(site) / "pypimirror.toml").write_text(
            f'[[upstream]]\nname = "bench"\nurl = "{site.server.base}/simple/"\n'
            f"[download]\n{self.settings}\n[publish]\nformats = {json.dumps(formats)}\n"
        )

    def command(self, scenario: Scenario, site: Site) -> list[str]:  # noqa: ARG002
        """Return the command."""
        program = [sys.executable, "-m", "pypimirror"]
        if scenario is Scenario.HASH:
            return [*program, "verify", "--quiet"]
        if scenario is Scenario.QUICK:
            return [*program, "verify", "--quick", "--quiet"]
        return [*program, "sync", self.way, "--json", "--quiet"]

    way = "--inline"

    def check(self, scenario: Scenario, site: Site, cost: Cost) -> list[str]:
        """Check exit code, failures, pages and files."""
        wrong = []
        if cost.status:
            wrong.append(f"exit code {cost.status}: {cost.errors.strip()[-300:]}")
        elif scenario not in (Scenario.HASH, Scenario.QUICK):
            found = json.loads(cost.output)
            if found["state"] != "completed":
                wrong.append(f"the run is {found['state']}: {found['failures'][:2]}")
        return wrong + check.mirror(self.home(site) / "mirror", site.corpus, site.corpus.projects)


class Earlier(Pypimirror):
    """An earlier build of pypimirror, whose source tree `--earlier` names."""

    name = "pypimirror, earlier"
    tree: Path | None = None  #: of its source; None: it takes no part

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part: nobody named it."""
        return "" if self.tree is None else super().missing(scenario, site)

    def environment(self, site: Site) -> dict[str, str]:
        """Return the environment, in which its tree comes before the installed package."""
        return super().environment(site) | {"PYTHONPATH": str(self.tree)}


class FewConnections(Pypimirror):
    """pypimirror with as many connections as bandersnatch may use."""

    name = "pypimirror, 10 connections"
    settings = "processes = 1\nconnections = 10"

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part."""
        if scenario is not Scenario.FIRST or site.name != "latency":
            return ""
        return super().missing(scenario, site)


class ThroughPrefect(Pypimirror):
    """pypimirror as a flow run against a Prefect server that is running already."""

    name = "pypimirror through Prefect"
    way = "--prefect"
    note = "CPU and memory include the server's"

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._url = ""

    def missing(self, scenario: Scenario, site: Site) -> str | None:
        """Return why it does not take part: some scenarios suffice to see what Prefect adds."""
        scenarios = (Scenario.FIRST, Scenario.SAME, Scenario.CHANGED)
        if scenario not in scenarios or site.name != "long-tail":
            return ""
        if not (ROOT / "flows" / "sync.py").is_file():
            return "not there yet: no flows"
        if importlib.util.find_spec("prefect") is None:
            return "Prefect is not installed"
        return None

    def environment(self, site: Site) -> dict[str, str]:
        """Return the environment, which names the server."""
        self.start()
        return super().environment(site) | {"PREFECT_API_URL": self._url} | self._settings()

    def _settings(self) -> dict[str, str]:
        assert self._home is not None
        return {"PREFECT_HOME": self._home.name}

    def start(self) -> None:
        """Start the server, once."""
        if self._server is not None:
            return
        self._home = tempfile.TemporaryDirectory(prefix="pypimirror-bench-prefect-")
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/api"
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        self._server = subprocess.Popen(
            command,
            env=isolated(**self._settings()),
            cwd=self._home.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.beside = (self._server.pid,)
        deadline = time.monotonic() + _SERVER_PATIENCE
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                with urllib.request.urlopen(f"{self._url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        self.close()
        raise RuntimeError("Prefect's server does not start")

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            measure.stop(self._server)
        if self._home is not None:
            self._home.cleanup()
        self._server = self._home = None
        self.beside = ()


@functools.cache
def verify_help() -> str | None:
    """Return the output of `pypimirror verify --help`; None if there is no such command."""
    command = [sys.executable, "-m", "pypimirror", "verify", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


class Bandersnatch(Contestant):
    """bandersnatch with all the workers that it allows.

    It is spared the core metadata, which pypimirror writes, and the saving of the release
    documents, which its verify needs and here gets for nothing.
    """

    name = "bandersnatch"
    note = "10 workers, no core metadata"

    def missing(self, scenario: Scenario, site: Site) -> str | None:  # noqa: ARG002
        """Return why it does not take part."""
        if scenario not in _MIRRORS:
            return ""
        return None if bandersnatch_python() else why_no_bandersnatch()

    def prepare(self, scenario: Scenario, site: Site) -> None:
        """Write the configuration and prepare the scenario."""
        home = self.home(site)
        if scenario is Scenario.PUBLISH:
            self.clear(site)
        if scenario is Scenario.LOST:
            (home / "mirror" / "status").unlink()
        if scenario in (Scenario.HASH, Scenario.QUICK):
            saved = home / "mirror" / "web" / "json"
            saved.mkdir(exist_ok=True)
            for name in site.corpus.part:
                source = site.corpus.directory / "legacy" / f"{name}.json"
                (saved / name).write_bytes(source.read_bytes())
        master = site.server.base + ("/part" if self.scale(site) != 1 else "")
        if scenario in (Scenario.HASH, Scenario.QUICK):
            # Its verify refuses a master without TLS, although it asks it for nothing.
            master = master.replace("http:", "https:")
        (home / "bandersnatch.conf").write_text(
            f"[mirror]\ndirectory = {home / 'mirror'}\nmaster = {master}\n"
            "allow-non-https = true\nworkers = 10\nverifiers = 10\ntimeout = 60\n"
            "json = false\ncore-metadata = false\nsimple-format = ALL\nstop-on-error = false\n"
            f"release-files = {'false' if scenario is Scenario.PUBLISH else 'true'}\n"
            "root_uri =\nhash-index = false\n"
            f"compare-method = {'stat' if scenario is Scenario.QUICK else 'hash'}\n"
        )

    def command(self, scenario: Scenario, site: Site) -> list[str]:
        """Return the command."""
        program = [str(ENVIRONMENT / "bin" / "bandersnatch")]
        program += ["-c", str(self.home(site) / "bandersnatch.conf")]
        is_check = scenario in (Scenario.HASH, Scenario.QUICK)
        return [*program, "verify" if is_check else "mirror"]

    def environment(self, site: Site) -> dict[str, str]:
        """Return the environment; it must not see this project's packages."""
        environment = super().environment(site)
        del environment["PYTHONPATH"]
        return environment

    def scale(self, site: Site) -> float:
        """Return by how much to multiply: with very many projects it does a part of them."""
        return len(site.corpus.projects) / len(site.corpus.part)

    def check(self, scenario: Scenario, site: Site, cost: Cost) -> list[str]:
        """Check exit code, pages and files."""
        wrong = []
        if cost.status:
            wrong.append(f"exit code {cost.status}: {cost.errors.strip()[-300:]}")
        web = self.home(site) / "mirror" / "web"
        if scenario is Scenario.PUBLISH:
            missing = [
                name
                for name in site.corpus.part
                if not (web / "simple" / name / "index.v1_json").is_file()
            ]
            return wrong + check.shortened([f"{name}: no page" for name in missing])
        return wrong + check.mirror(web, site.corpus, site.corpus.part)


def everything() -> list[Contestant]:
    """Return one of each."""
    return [Pypimirror(), Earlier(), FewConnections(), ThroughPrefect(), Bandersnatch()]
