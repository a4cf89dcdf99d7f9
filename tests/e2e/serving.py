"""The servers that a mirror is installed from, each in its own process, and a recorder before one.

All give the address of a simple index.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from tests.corpus.servers import wait_listening
from tests.e2e.mirror import Mirror, program
from tests.environment import isolated
from tests.ports import free_port

HOST = "127.0.0.1"
PATIENCE = 60.0  #: seconds until a server has to say where it is

_ADDRESS = re.compile(rf"http://{re.escape(HOST)}:\d+/")


@contextmanager
def serve(mirror: Mirror, port: str = "0") -> Iterator[str]:
    """`pypimirror serve`."""
    command = [*program("serve"), "--config", str(mirror.config), "--port", port]
    with announced(command) as address:
        yield f"{address}simple/"


@contextmanager
def static(root: Path) -> Iterator[str]:
    """A plain static web server that knows nothing of indexes."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", HOST]
    with announced([*command, "--directory", str(root)]) as address:
        yield f"{address}simple/"


#: What bandersnatch's own documentation has nginx do: the page in the form that a client names.
_NGINX = """\
daemon off; master_process off; worker_processes 1;
pid {home}/nginx.pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f;
    uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    default_type application/octet-stream;
    map $http_accept $mirror_suffix {{
        default ".html";
        "~*application/vnd\\.pypi\\.simple\\.v1\\+json" ".v1_json";
        "~*application/vnd\\.pypi\\.simple\\.v1\\+html" ".v1_html";
        "~*text/html" ".html";
    }}
    server {{
        listen {host}:{port};
        root {root};
        autoindex on;
        charset utf-8;
        location /simple/ {{
            index index$mirror_suffix;
            types {{
                application/vnd.pypi.simple.v1+json v1_json;
                application/vnd.pypi.simple.v1+html v1_html;
                text/html html;
            }}
            try_files $uri$mirror_suffix $uri $uri/ =404;
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """nginx, where it is installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(root: Path, home: Path) -> Iterator[str]:
    """nginx on a mirror root; `home` is an empty directory for what it writes."""
    program = find_nginx()
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    config = home / "nginx.conf"
    config.write_text(_NGINX.format(root=root, home=home, host=HOST, port=port))
    process = subprocess.Popen(
        [program, "-p", str(home), "-e", str(home / "error.log"), "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_listening(process, port)
        yield f"http://{HOST}:{port}/simple/"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def announced(command: list[str]) -> Iterator[str]:
    """A server that prints its address when it listens."""
    process = subprocess.Popen(
        command,
        env=isolated(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        found = next((m for line in process.stdout if (m := _ADDRESS.search(line))), None)
        timer.cancel()
        assert found is not None, f"{command} did not say where it listens"
        yield found[0]
    finally:
        timer.cancel()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class Recorder:
    """Stands before a server and remembers what is asked of it: method, path, status.

    A request is noted before its answer is sent, so that whoever has the answer finds it noted.
    """

    def __init__(self, target: str, accept: str | None = None) -> None:
        self.target = urlsplit(target)
        self.accept = accept  #: asked for in place of what the client accepts
        self.requests: list[tuple[str, int]] = []

    def __enter__(self) -> Recorder:
        handler = type("Handler", (_Handler,), {"recorder": self})
        self._server = _Server((HOST, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://{HOST}:{self._server.server_port}{self.target.path}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for path, _ in self.requests]

    @property
    def pages(self) -> list[str]:
        """The pages that were asked for, the project list among them, in alphabetical order."""
        return sorted(path for path in self.paths if path.startswith(self.target.path))

    @property
    def wheels(self) -> set[str]:
        """The names of wheels that were downloaded, in whole or in part."""
        return {name for name in self._names if name.endswith(".whl")}

    @property
    def metadata(self) -> set[str]:
        """The names of wheels whose core metadata was downloaded by itself."""
        return {n.removesuffix(".metadata") for n in self._names if n.endswith(".metadata")}

    @property
    def _names(self) -> set[str]:
        return {path.rpartition("/")[2] for path, status in self.requests if status in (200, 206)}

    def forget(self) -> None:
        """Begin anew."""
        self.requests.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    recorder: ClassVar[Recorder]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        recorder = self.recorder
        target = recorder.target
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        if recorder.accept is not None:
            headers["Accept"] = recorder.accept
        upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=PATIENCE)
        try:
            upstream.request(self.command, self.path, headers=headers)
            answer = upstream.getresponse()
            body = answer.read()
        finally:
            upstream.close()
        recorder.requests.append((urlsplit(self.path).path, answer.status))
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
        if answer.status != 304 and length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
