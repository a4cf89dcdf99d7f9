"""Finds and, on request, installs the programs that the benchmark compares with.

`install` uses the machine's package manager and pip as they are configured, and also fetches the
real wheels of the corpus "wheels". Nothing is installed without a request.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.corpus import fetch, pythons

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".cache" / "benchmarks" / "bandersnatch"
PROXPI = ROOT / ".cache" / "benchmarks" / "proxpi"
PROXPI_PACKAGES = ("proxpi==1.3.1", "gunicorn==27.0.1")
PACKAGES = ("nginx", "libnginx-mod-http-echo", "aria2")
NEWEST = (3, 12)  #: the oldest Python that bandersnatch 8 runs on


def bandersnatch_python() -> Path | None:
    """Return the interpreter of bandersnatch's environment, None if there is none."""
    python = ENVIRONMENT / "bin" / "python"
    return python if (ENVIRONMENT / "bin" / "bandersnatch").is_file() else None


def why_no_bandersnatch() -> str:
    """Return what is missing to run bandersnatch."""
    if pythons.newest(NEWEST) is None:
        return "needs Python 3.12 or newer, and this machine has none"
    return "not installed; --install does that"


def install() -> None:
    """Install nginx, aria2 and bandersnatch, and fetch real wheels; report failures."""
    for folder in (fetch.CORPUS, fetch.APPLICATION, fetch.WHEELS):
        fetch.fetch(folder)
    missing = [name for name in ("nginx", "aria2c") if not _which(name)]
    echo = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
    if (missing or not echo.exists()) and _which("apt-get") and os.geteuid() == 0:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        quiet = ["apt-get", "-qq"]
        _run([*quiet, "update"], environment)
        command = [*quiet, "install", "-y", "--no-install-recommends", *PACKAGES]
        _run(command, environment)
    if bandersnatch_python() is None and (python := pythons.newest(NEWEST)):
        ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
        _run([python, "-m", "venv", "--clear", str(ENVIRONMENT)])
        _run([str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-q", "bandersnatch>=8"])


def install_proxpi() -> None:
    """Install proxpi with a web server; report a failure."""
    if (PROXPI / "bin" / "gunicorn").is_file():
        return
    PROXPI.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", "--clear", str(PROXPI)])
    _run([str(PROXPI / "bin" / "python"), "-m", "pip", "install", "-q", *PROXPI_PACKAGES])


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-500:]
        print(f"install: {' '.join(command[:3])} … failed: {said}", file=sys.stderr)


def facts() -> dict[str, str | int]:
    """Return facts on the machine, for the report."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory": memory,
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
        "load": str(os.getloadavg()[0]),
    }
