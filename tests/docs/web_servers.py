"""Web servers that run with the examples of operations.md: as they stand there, but for places.

Each is looked for as a Debian has it, and gets what a Debian gives it by default: its types of
files, and what it packs.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.corpus.servers import HOST, wait_listening
from tests.ports import free_port

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
PROGRAMS = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/local/bin"
#: In all examples.
ROOT = "/srv/mirror"


@dataclass(frozen=True)
class Place:
    """Where a server runs: an empty directory for what it writes, the mirror root, its port."""

    home: Path
    root: Path
    port: int

    def put(self, text: str, *changes: tuple[str, str]) -> str:
        """An example with places of this machine; each of those that it names has to be there."""
        for old, new in ((ROOT, str(self.root)), *changes):
            assert old in text, f"no {old} in\n{text}"
            text = text.replace(old, new)
        return text

    def write(self, name: str, text: str) -> str:
        """Write a configuration; its path."""
        path = self.home / name
        path.write_text(text)
        return str(path)


def example(server: str) -> str:
    """The example under the heading of a server."""
    _, found, after = OPERATIONS.read_text("utf-8").partition(f"\n### With {server}\n")
    assert found, f"operations.md has nothing on {server}"
    block = re.search(r"^```\w+\n(.*?)^```$", after.partition("\n### ")[0], re.M | re.S)
    assert block is not None, f"operations.md has no example for {server}"
    return block[1]


_NGINX = """\
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    include /etc/nginx/mime.types; default_type application/octet-stream; gzip on;
    {example}
}}
"""


def nginx(place: Place) -> list[str]:
    """nginx, which serves the tree by itself."""
    listen = ("listen 80;", f"listen {HOST}:{place.port};")
    text = _NGINX.format(home=place.home, example=place.put(example("nginx alone"), listen))
    file = place.write("nginx.conf", text)
    return [found("nginx"), "-p", str(place.home), "-e", f"{place.home}/error.log", "-c", file]


def nginx_of_bucket(endpoint: str, host: str, place: Place) -> list[str]:
    """nginx, which asks a bucket that is the whole of a host, at this endpoint."""
    text = example("nginx in front of a bucket")
    for old, new in (
        ("listen 80;", f"listen {HOST}:{place.port};"),
        ("https://mirrors.s3.example.org", endpoint),
        ("mirrors.s3.example.org", host),
        ("/var/cache/nginx/mirror", f"{place.home}/cache"),
    ):
        assert old in text, f"no {old} in\n{text}"
        text = text.replace(old, new)
    file = place.write("nginx.conf", _NGINX.format(home=place.home, example=text))
    return [found("nginx"), "-p", str(place.home), "-e", f"{place.home}/error.log", "-c", file]


_APACHE = """\
ServerRoot {home}
ServerName {host}
Listen {host}:{port}
PidFile {home}/pid
Mutex file:{home}
ErrorLog {home}/error.log
{modules}
TypesConfig /etc/mime.types
AddType application/x-gzip .gz .tgz
AddEncoding x-gzip .gz .tgz
AddOutputFilterByType DEFLATE text/html text/plain
<Directory />
    Require all denied
</Directory>
{example}
"""


def apache(place: Place) -> list[str]:
    """Apache, with the modules that the example names, and what nobody goes without."""
    text = place.put(example("Apache"))
    named = re.search(r"Modules: ([\w, ]+)\.", text)
    assert named is not None
    modules = [*named[1].split(", "), "mpm_event", "authz_core"]
    directory = Path("/usr/lib/apache2/modules")
    load = "\n".join(f"LoadModule {m}_module {directory}/mod_{m}.so" for m in sorted({*modules}))
    said = {"host": HOST, "home": place.home, "port": place.port, "modules": load, "example": text}
    return [
        found("apache2"),
        "-D",
        "FOREGROUND",
        "-f",
        place.write("a.conf", _APACHE.format(**said)),
    ]


def caddy(place: Place) -> list[str]:
    """Caddy, without the certificates that a name in public gets by itself."""
    site = ("mirror.example.org {", f"http://{HOST}:{place.port} {{")
    text = "{\n    admin off\n}\n" + place.put(example("Caddy"), site)
    return [
        found("caddy"),
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        place.write("Caddyfile", text),
    ]


def found(program: str) -> str:
    """A program's path; no test where there is none."""
    path = shutil.which(program, path=PROGRAMS)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@contextmanager
def running(server: Callable[[Place], list[str]], home: Path, root: Path) -> Iterator[int]:
    """Run a server on a mirror root; its port."""
    home.mkdir()
    place = Place(home, root, free_port())
    command = server(place)
    # Apache refuses to serve as root.
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if user is not None:
        os.chown(home, user, -1)
        for file in home.iterdir():
            os.chown(file, user, -1)
    with (home / "said").open("w+") as said:
        process = subprocess.Popen(
            command,
            user=user,
            env={"PATH": PROGRAMS, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            try:
                wait_listening(process, place.port)
            except Exception as error:
                said.seek(0)
                raise AssertionError(f"{command}:\n{said.read()}") from error
            yield place.port
        finally:
            process.terminate()
            process.wait(10)
