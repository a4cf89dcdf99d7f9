"""The upstream: nginx if it is installed, else the project's own static server.

If nginx has the echo module, it also makes the delays: it waits with a timer, so that a delay does
not become a bottleneck.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import measure
from benchmarks.static import SERIAL, SIMPLE

ROOT = Path(__file__).resolve().parent.parent
ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
_PATIENCE = 20.0  #: seconds in which the server must answer

_CONFIG = """\
{user}
worker_processes {processes};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
{modules}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  limit_rate {rate};
  keepalive_requests 10000000;
  keepalive_timeout 300s;
  types {{ }}
  default_type application/octet-stream;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} {tls};
    {certificate}
    root {root};
    location / {{
      rewrite ^/(part/)?pypi/([^/]+)/json$ /legacy/$2.json last;
      rewrite ^/simple/?$ /simple.json last;
      rewrite ^/part/simple/?$ /part.json last;
      rewrite ^/simple/([^/]+)/?$ /pages/$1.json last;
    }}
    {locations}
  }}
}}
"""

_LOCATIONS = (
    ("/packages/", ""),
    ("/legacy/", f"default_type application/json; add_header X-PyPI-Last-Serial {SERIAL};"),
    ("/pages/", f"default_type {SIMPLE};"),
    ("= /simple.json", f"default_type {SIMPLE};"),
    ("= /part.json", f"default_type {SIMPLE};"),
)


def free_port() -> int:
    """Return a port that nothing listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def nginx() -> str | None:
    """Return the path of nginx; None if it is not installed or must not be used."""
    if os.environ.get("BENCHMARKS_STATIC"):
        return None
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass
class Server:
    """An upstream over a directory. A context manager."""

    root: Path
    private: Path  #: for its configuration, certificate and logs
    delay: float = 0.0  #: seconds before each answer
    tls: bool = False
    port: int = 0  #: 0: any that is free
    rate: int = 0  #: bytes a second of each answer, with nginx; 0: as fast as it can
    kind: str = ""  #: what serves, once it runs
    base: str = ""  #: its address, without a slash at the end
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.private.mkdir(parents=True, exist_ok=True)
        port = self.port or free_port()
        self.base = f"http{'s' if self.tls else ''}://127.0.0.1:{port}"
        if self.tls:
            make_certificate(self.private)
        program = nginx()
        if program and (not self.delay or ECHO.exists()):
            self.kind = "nginx"
            command = [program, "-p", str(self.private), "-c", str(self._configure(port))]
        else:
            self.kind = "benchmarks.static"
            command = [sys.executable, "-m", "benchmarks.static", str(self.root), str(port)]
            command += ["--delay", str(self.delay)]
            if self.tls:
                command += ["--cert", str(self.private / "server.pem")]
        with (self.private / "upstream.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            measure.stop(self.process)

    @property
    def authority(self) -> Path | None:
        """The certificate that clients have to trust, with TLS."""
        return self.private / "ca.pem" if self.tls else None

    @property
    def pids(self) -> list[int]:
        """The server's first process."""
        return [self.process.pid] if self.process else []

    def _configure(self, port: int) -> Path:
        certificate = ""
        if self.tls:
            certificate = f"ssl_certificate {self.private}/server.pem;"
            certificate += f" ssl_certificate_key {self.private}/server.pem;"
        locations = []
        for number, (at, settings) in enumerate(_LOCATIONS):
            if self.delay:
                # The module's handler waits, then hands over to one that only sends.
                wait = f"echo_sleep {self.delay}; echo_exec @send{number};"
                locations.append(f"location {at} {{ {wait} }}")
                at = f"@send{number}"
            locations.append(f"location {at} {{ {settings} }}")
        config = self.private / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                user="user root;" if os.geteuid() == 0 else "",
                processes=len(os.sched_getaffinity(0)),
                directory=self.private,
                modules=f"load_module {ECHO};" if self.delay else "",
                port=port,
                rate=self.rate,
                tls="ssl" if self.tls else "",
                certificate=certificate,
                root=self.root,
                locations="\n    ".join(locations),
            )
        )
        return config

    def _wait(self) -> None:
        assert self.process is not None
        context = ssl.create_default_context(cafile=self.authority) if self.tls else None
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with urllib.request.urlopen(
                    f"{self.base}/packages/", timeout=5, context=context
                ) as answer:
                    answer.read()
            except urllib.error.HTTPError:
                return
            except OSError:
                pass
            else:
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.private / "upstream.log").read_text()
                raise RuntimeError(f"the upstream ({self.kind}) does not start: {said}")
            time.sleep(0.02)


def make_certificate(directory: Path) -> None:
    """Make a certificate for loopback: `ca.pem` to trust, `server.pem` with the key."""
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=benchmark -keyout key.pem -out ca.pem -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    pems = [(directory / name).read_text() for name in ("key.pem", "ca.pem")]
    (directory / "server.pem").write_text("".join(pems))
