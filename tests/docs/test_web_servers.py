"""What operations.md has other web servers do is what `pypimirror serve` does, and no more."""

from __future__ import annotations

import functools
import http.client
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest

from pypimirror.domain.objects.bucket import Bucket
from tests import buckets
from tests.corpus.build import make_sdist
from tests.corpus.servers import HOST
from tests.docs.web_servers import Place, apache, caddy, nginx, nginx_of_bucket, running
from tests.e2e.clients import call, uv_pip
from tests.serve.tree import add_project, add_root_index, put, wheel

HTML, JSON = "text/html", "application/vnd.pypi.simple.v1+json"
PIP = f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
SECRET = b"what was refused"
#: Ways to write an address, each of which some server once took for one below its root.
PRIVATE = [
    f"{before}.pypimirror{slash}secret"
    for slash in ("/", "%2f", "//")
    for before in (
        *("/", "//", "/%2e/", "/./", "/simple/../", "/simple/%2e%2e/", "/simple/..%2f"),
        *("/simple//../", "/packages/six/../../", "/packages/..%5c", "/packages/%252e%252e/"),
        *("/simple../", "/packages../", "/packages%2f..%2f", "/SIMPLE/../", "/simple/six/../../"),
    )
] + ["/%2epypimirror/secret", "/%2Epypimirror/secret", "/simple/..;/.pypimirror/secret"]

Answer = tuple[int, Message, bytes]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can read, as pytest's are not."""
    directory = Path(tempfile.mkdtemp(prefix="web-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def root(place: Path) -> Path:
    """A mirror root whose private directory has been opened to all: only the server keeps it."""
    directory = place / "mirror"
    many = [wheel("six", f"1.{n}", requires=["idna"]) for n in range(20)]
    add_project(directory, "six", *many)
    add_project(directory, "idna", wheel("idna", "3.10"))
    add_root_index(directory, "idna", "six")
    for page in (directory / "simple").rglob("index.*"):
        os.utime(page, (10**9, 10**9))  # a weak ETag may tell of what is a second old
    name, data = make_sdist("six", "1.5")
    (directory / "packages/six" / name).write_bytes(data)
    (directory / ".pypimirror").mkdir()
    (directory / ".pypimirror/secret").write_bytes(SECRET)
    return directory


def get(port: int, path: str, **headers: str) -> Answer:
    """What a server answers to this path as it is written."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("server", [nginx, apache, caddy], ids=lambda server: server.__name__)
def test_an_example_serves_the_mirror_and_nothing_else(
    server: Callable[[Place], list[str]], place: Path, root: Path
) -> None:
    with running(server, place / "server", root) as port:
        for path in ("simple", "simple/six"):
            pages_are_given_in_the_form_that_is_asked_for(port, path, root)
        files_come_as_they_are(port, root)
        for path in PRIVATE:
            status, _, body = get(port, path)
            assert (status >= 300, SECRET in body) == (True, False), path
        assert get(port, "/simple/nothing/", Accept=PIP)[0] == 404
        assert get(port, "/packages/six/")[0] in (403, 404), "no list of files"
        status, headers, _ = get(port, "/simple/six")
        assert status in (301, 302, 307, 308)
        assert headers["Location"].endswith("/simple/six/")
        index = f"http://{HOST}:{port}/simple/"
        call(*uv_pip("install", index), "--target", place / "site", "six")
        assert (place / "site/idna").is_dir(), "what it needs"


def test_nginx_serves_a_bucket_as_it_stands_in_the_example(
    place: Path, root: Path, moto: buckets.Server
) -> None:
    store, name = buckets.client(moto.endpoint), f"whole-{secrets.token_hex(4)}"
    store.create_bucket(Bucket=name)
    (root / "packages/six/six-1.5+local.1.tar.gz").write_bytes(b"a version with a plus")
    for path in (path for path in root.rglob("*") if path.is_file()):
        key = str(path.relative_to(root))
        put(store, Bucket(name), key, path.read_bytes())
        store.put_object_acl(Bucket=name, Key=key, ACL="public-read")
    host = f"{name}.localhost:{moto.endpoint.rpartition(':')[2]}"
    server = functools.partial(nginx_of_bucket, moto.endpoint, host)
    with running(server, place / "server", root) as port:
        for page in ("simple", "simple/six"):
            pages_are_given_in_the_form_that_is_asked_for(port, page, root)
        files_come_as_they_are(port, root)
        assert get(port, "/packages/six/six-1.5%2Blocal.1.tar.gz")[2] == b"a version with a plus"
        for secret in PRIVATE:
            status, _, body = get(port, secret)
            assert (status >= 300, SECRET in body) == (True, False), secret
        assert get(port, "/simple/nothing/", Accept=PIP)[0] == 404
        status, headers, _ = get(port, "/simple/six")
        assert (status, headers["Location"]) == (301, "/simple/six/")
        index = f"http://{HOST}:{port}/simple/"
        call(*uv_pip("install", index), "--target", place / "site", "six")
        assert (place / "site/idna").is_dir(), "what it needs"


def pages_are_given_in_the_form_that_is_asked_for(port: int, path: str, root: Path) -> None:
    marks = set()
    for accept, kind, name in (
        ("*/*", HTML, "index.html"),
        ("text/html", HTML, "index.html"),
        (PIP, JSON, "index.v1_json"),
        ("application/vnd.pypi.simple.latest+json", JSON, "index.v1_json"),
    ):
        status, headers, body = get(port, f"/{path}/", Accept=accept)
        assert (status, headers.get_content_type()) == (200, kind)
        assert body == (root / path / name).read_bytes()
        assert "Accept" in varies(headers)
        assert "max-age=0" in headers["Cache-Control"]
        marks.add(headers["ETag"])
        assert get(port, f"/{path}/", Accept=accept, If_None_Match=headers["ETag"])[0] == 304
        status, headers, packed = get(port, f"/{path}/", Accept=accept, Accept_Encoding="gzip")
        if len(body) > 1400:
            assert headers["Content-Encoding"] == "gzip"
            assert len(packed) < len(body)
        if headers["Content-Encoding"]:
            assert {"Accept", "Accept-Encoding"} <= varies(headers)
        mark = headers["ETag"]
        again = get(port, f"/{path}/", Accept=accept, Accept_Encoding="gzip", If_None_Match=mark)
        assert again[0] == 304
    assert len(marks) == 2, "one for each form"


def varies(headers: Message) -> set[str]:
    """What an answer depends on."""
    return {name.strip() for line in headers.get_all("Vary", []) for name in line.split(",")}


def files_come_as_they_are(port: int, root: Path) -> None:
    kinds = {".metadata": "text/plain"}
    for file in sorted((root / "packages/six").glob("*1.5*")):
        status, headers, body = get(port, f"/packages/six/{file.name}", Accept_Encoding="identity")
        assert (status, body) == (200, file.read_bytes())
        assert headers.get_content_type() == kinds.get(file.suffix, headers.get_content_type())
        assert "immutable" in headers["Cache-Control"]
        if file.suffix != ".metadata":
            packed = get(port, f"/packages/six/{file.name}", Accept_Encoding="gzip, zstd")
            assert packed[1]["Content-Encoding"] is None, "nobody may take it apart on the way"
        status, headers, part = get(port, f"/packages/six/{file.name}", Range="bytes=10-19")
        assert (status, part) == (206, body[10:20])
        assert get(port, f"/packages/six/{file.name}", If_None_Match=headers["ETag"])[0] == 304
