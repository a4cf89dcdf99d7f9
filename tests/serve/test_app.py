"""The app serves the pages and packages of a mirror root, and nothing else."""

from __future__ import annotations

import os
import time
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urljoin

import pytest
from werkzeug.test import Client

from pypimirror.serve.app import create_app
from pypimirror.serve.negotiation import HTML, JSON
from tests.serve.tree import SERIAL

WHEEL = "/packages/six/six-1.16.0-py3-none-any.whl"
LONG_AGO = 1_600_000_000
PAGES = ["/simple/", "/simple/six/"]


def replace(path: Path, data: bytes, *, modified: int | None = None) -> None:
    """Replace a file as the publisher does: by a new one."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    if modified is not None:
        os.utime(new, (modified, modified))
    new.replace(path)


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_a_page_comes_in_the_form_that_is_asked_for(client: Client, root: Path, path: str) -> None:
    directory = root / path.strip("/")
    forms = {
        JSON: (JSON, "index.v1_json"),
        HTML: (HTML, "index.html"),
        "text/html": ("text/html; charset=utf-8", "index.html"),
    }
    for accept, (content_type, name) in forms.items():
        response = client.get(path, headers={"Accept": accept})
        assert response.status_code == 200
        assert response.headers["Content-Type"] == content_type
        assert response.headers["Vary"] == "Accept"
        assert response.data == (directory / name).read_bytes()
        assert response.headers["X-PyPI-Last-Serial"] == str(SERIAL)
        by_parameter = client.get(f"{path}?format={accept}")
        assert by_parameter.headers["Content-Type"] == content_type


@pytest.mark.parametrize("path", ["/simple/six/", WHEEL])
@pytest.mark.parametrize("modified", [4_000_000_000, 2**40, -(2**40), -1])
def test_a_file_of_any_time_is_served_and_none_of_the_future_told(
    client: Client, root: Path, path: str, modified: int
) -> None:
    name = path.strip("/") + "/index.html" * path.endswith("/")
    os.utime(root / name, (modified, modified))
    found = client.get(path, headers={"Accept": HTML})
    assert found.status_code == 200
    assert ("Last-Modified" in found.headers) == ((root / name).stat().st_mtime < time.time())
    etag = found.headers["ETag"]
    assert client.get(path, headers={"Accept": HTML, "If-None-Match": etag}).status_code == 304


def test_a_page_in_no_acceptable_form_is_refused(client: Client) -> None:
    response = client.get("/simple/six/", headers={"Accept": "image/png"})
    assert response.status_code == 406
    assert JSON in response.text
    assert client.get("/simple/six/?format=image/png").status_code == 406


def test_a_mirror_with_one_form_serves_that(client: Client, root: Path) -> None:
    (root / "simple/six/index.v1_json").unlink()
    pip = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"
    assert client.get("/simple/six/", headers={"Accept": pip}).headers["Content-Type"] == HTML
    (root / "simple/foo-bar/index.html").unlink()
    assert client.get("/simple/foo-bar/").headers["Content-Type"] == JSON


def test_a_missing_page_says_so(client: Client, tmp_path: Path) -> None:
    response = client.get("/simple/unknown/")
    assert response.status_code == 404
    assert response.mimetype == "text/plain"
    assert "no such project" in response.text
    response = Client(create_app(tmp_path / "absent")).get("/simple/")
    assert response.status_code == 404
    assert "pypimirror sync" in response.text


@pytest.mark.parametrize("prefix", ["", "/mirrors/python"])
@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/simple", "/simple/"),
        ("/simple/six", "/simple/six/"),
        ("/simple/Foo_Bar", "/simple/foo-bar/"),
        ("/simple/Foo.-_Bar/", "/simple/foo-bar/"),
        ("/simple/SIX?format=x%2By", "/simple/six/?format=x%2By"),
    ],
)
def test_a_project_is_found_under_any_spelling(
    client: Client, prefix: str, path: str, target: str
) -> None:
    response = client.get(path)
    assert response.status_code == 301
    location = response.headers["Location"]
    assert "://" not in location
    assert not location.startswith("/")
    assert urljoin(f"http://proxy{prefix}{path}", location) == f"http://proxy{prefix}{target}"


# --- a reader never gets a stale answer -----------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, WHEEL, f"{WHEEL}.metadata"])
def test_what_a_reader_has_is_not_sent_again(client: Client, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert not first.headers["ETag"].startswith("W/")
    other = client.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.data) == (200, first.data)


def test_the_forms_of_a_page_have_different_etags(client: Client) -> None:
    etags = {
        client.get("/simple/six/", headers={"Accept": accept}).headers["ETag"]
        for accept in (JSON, HTML)
    }
    assert len(etags) == 2


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_a_page_that_changed_without_changing_its_times_or_size_is_sent(
    client: Client, root: Path, size: int
) -> None:
    page = root / "simple/six/index.html"
    replace(page, b"a" * size, modified=LONG_AGO)
    etag = client.get("/simple/six/").headers["ETag"]
    page.write_bytes(b"b" * size)  # same inode, size and time: as bad as it gets
    os.utime(page, (LONG_AGO, LONG_AGO))
    answer = client.get("/simple/six/", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.data) == (200, b"b" * size)


def test_the_same_page_has_the_same_etag_on_every_replica(root: Path, tmp_path: Path) -> None:
    replica = tmp_path / "replica"
    (replica / "simple").mkdir(parents=True)
    (replica / "simple/index.html").write_bytes((root / "simple/index.html").read_bytes())
    etags = {Client(create_app(r)).get("/simple/").headers["ETag"] for r in (root, replica)}
    assert len(etags) == 1


def test_a_large_page_that_settled_is_hashed_once(
    client: Client, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(root / "simple/index.html", b"x" * 300_000)
    monkeypatch.setattr("pypimirror.serve.files._SETTLED", -(10**10))
    etag = client.get("/simple/").headers["ETag"]
    monkeypatch.setattr("hashlib.file_digest", None)
    assert client.get("/simple/").headers["ETag"] == etag


def test_the_date_of_a_page_counts_once_no_other_change_can_have_it(
    client: Client, root: Path
) -> None:
    page = root / "simple/six/index.html"
    replace(page, b"fresh", modified=2**32)
    assert "Last-Modified" not in client.get("/simple/six/").headers
    replace(page, b"settled", modified=LONG_AGO)
    date = client.get("/simple/six/").headers["Last-Modified"]
    assert date == formatdate(LONG_AGO, usegmt=True)
    answer = client.get("/simple/six/", headers={"If-Modified-Since": date})
    assert answer.status_code == 304


def test_a_page_from_a_backup_is_older_and_sent_all_the_same(client: Client, root: Path) -> None:
    replace(root / "simple/six/index.html", b"restored", modified=LONG_AGO - 1000)
    since = {"If-Modified-Since": formatdate(LONG_AGO, usegmt=True)}
    assert client.get("/simple/six/", headers=since).status_code == 200


def test_pages_are_asked_for_again_and_packages_are_kept(client: Client) -> None:
    assert "must-revalidate" in client.get("/simple/six/").headers["Cache-Control"]
    assert "immutable" in client.get(WHEEL).headers["Cache-Control"]


# --- packages -------------------------------------------------------------------------------------


def test_a_package_is_sent_as_its_bytes(client: Client, root: Path) -> None:
    response = client.get(WHEEL)
    assert response.data == (root / WHEEL[1:]).read_bytes()
    assert response.headers["Content-Length"] == str(len(response.data))
    assert response.headers["Last-Modified"]
    metadata = client.get(f"{WHEEL}.metadata")
    assert metadata.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert metadata.data.startswith(b"Metadata-Version")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a-1.whl", "application/zip"),
        ("a-1.whl.provenance", "application/vnd.pypi.integrity.v1+json"),
        ("a-1.tar.gz", "application/gzip"),
        ("a-1.tgz", "application/gzip"),
        ("a-1.tar.bz2", "application/x-bzip2"),
        ("a-1.zip", "application/zip"),
        ("a-1.exe", "application/octet-stream"),
        ("a-1.html", "application/octet-stream"),
    ],
)
def test_no_client_unpacks_or_shows_a_package(
    client: Client, root: Path, name: str, content_type: str
) -> None:
    (root / "packages/six" / name).write_bytes(b"<script>")
    response = client.get(f"/packages/six/{name}")
    assert response.headers["Content-Type"] == content_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("name", ["a+b-1.0.tar.gz", "a b#c?.zip", "é-1.0%.tar.gz"])
def test_a_name_with_odd_characters_is_found(client: Client, root: Path, name: str) -> None:
    (root / "packages/six" / name).write_bytes(b"odd")
    assert (
        client.get(
            f"/packages/six/{name.replace('%', '%25')}".replace("#", "%23").replace("?", "%3F")
        ).data
        == b"odd"
    )


def test_a_deeper_layout_is_served(client: Client, root: Path) -> None:
    path = root / "packages/ab/cd/ef/x-1.0.tar.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"deep")
    assert client.get("/packages/ab/cd/ef/x-1.0.tar.gz").data == b"deep"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=5-", slice(5, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=5-99999999", slice(5, None)),
    ],
)
def test_a_transfer_resumes(client: Client, asked: str, part: slice) -> None:
    whole = client.get(WHEEL)
    headers = {"Range": asked, "If-Range": whole.headers["ETag"]}
    response = client.get(WHEEL, headers=headers)
    assert (response.status_code, response.data) == (206, whole.data[part])
    first = range(len(whole.data))[part][0]
    last = range(len(whole.data))[part][-1]
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole.data)}"
    assert response.headers["ETag"] == whole.headers["ETag"]
    dated = client.get(WHEEL, headers=headers | {"If-Range": whole.headers["Last-Modified"]})
    assert (dated.status_code, dated.data) == (206, whole.data[part])


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=5-", "If-Range": '"another"'},
        {"Range": "bytes=5-", "If-Range": formatdate(LONG_AGO, usegmt=True)},
        {"Range": "bytes=5-", "If-Range": formatdate(2**32, usegmt=True)},
        {"Range": "bytes=5-", "If-Range": f"Mon, 01 Jan 2020 00:00:00 +{'9' * 30}"},
        {"If-Modified-Since": f"Mon, 01 Jan 2020 00:00:00 +{'9' * 30}"},
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=9-5"},
        {"Range": "lines=1-2"},
        {"Range": "nonsense"},
    ],
)
def test_a_transfer_that_cannot_resume_starts_again(
    client: Client, root: Path, headers: dict[str, str]
) -> None:
    response = client.get(WHEEL, headers=headers)
    assert (response.status_code, response.data) == (200, (root / WHEEL[1:]).read_bytes())


def test_a_weak_etag_resumes_nothing(client: Client) -> None:
    etag = client.get(WHEEL).headers["ETag"]
    headers = {"Range": "bytes=5-", "If-Range": f"W/{etag}"}
    assert client.get(WHEEL, headers=headers).status_code == 200


def test_a_range_beyond_the_end_is_refused(client: Client, root: Path) -> None:
    size = (root / WHEEL[1:]).stat().st_size
    response = client.get(WHEEL, headers={"Range": f"bytes={size}-"})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{size}"


# --- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", *PAGES, "/simple/Six", WHEEL, "/nothing"])
def test_head_says_what_get_would(client: Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    drop = {"Date"}
    assert head.status_code == got.status_code
    assert head.data == b""
    assert [h for h in head.headers if h[0] not in drop] == [
        h for h in got.headers if h[0] not in drop
    ]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_nothing_can_be_written(client: Client, method: str) -> None:
    for path in ("/", "/simple/six/", WHEEL):
        response = client.open(path, method=method)
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD"


# --- nothing outside the tree ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/.pypimirror/catalog.db",
        "/packages/.pypimirror/catalog.db",
        "/packages/../.pypimirror/catalog.db",
        "/packages/%2e%2e/.pypimirror/catalog.db",
        "/packages/..%2f.pypimirror%2fcatalog.db",
        "/packages/six/../../secret",
        "/packages/six/..%2f..%2fsecret",
        "/packages//etc/passwd",
        "/packages/%2fetc%2fpasswd",
        "//etc/passwd",
        "/simple/../secret",
        "/simple/%2e%2e/",
        "/simple/%2e%2e/packages/six/",
        "/simple/..",
        "/simple/six/index.html",
        "/simple/six%00/",
        "/packages/six/%00",
        "/packages/six/%ff",
        "/packages/six/" + "a" * 300,
        "/packages/" + "a/" * 3000,
        "/simple/" + "a" * 300 + "/",
        "/secret",
        "/packages/six/.hidden",
        "/packages/link-out/secret",
        "/packages/six/link-out",
        "/packages/six/link-private",
        "/packages/six/link-loop",
        "/packages/six/fifo",
        "/simple/link-out/",
        "/simple/page-out/",
    ],
)
def test_nothing_outside_the_tree_is_served(client: Client, root: Path, path: str) -> None:
    outside = root.parent / "outside"
    private = root / ".pypimirror/catalog.db"
    hidden = root / "packages/six/.hidden"
    for secret in (root.parent / "secret", root / "secret", outside / "secret", private, hidden):
        secret.parent.mkdir(exist_ok=True)
        secret.write_bytes(b"SECRET")
    (outside / "index.html").write_bytes(b"SECRET")
    (root / "packages/link-out").symlink_to(outside)
    (root / "packages/six/link-out").symlink_to(outside / "secret")
    (root / "packages/six/link-private").symlink_to(private)
    (root / "packages/six/link-loop").symlink_to("link-loop")
    os.mkfifo(root / "packages/six/fifo")
    (root / "simple/link-out").symlink_to(outside)
    (root / "simple/page-out").mkdir()
    (root / "simple/page-out/index.html").symlink_to(outside / "secret")
    response = client.get(path)
    assert response.status_code == 404
    assert response.mimetype == "text/plain"
    assert b"SECRET" not in response.data


@pytest.mark.parametrize("path", ["/packages", "/packages/", "/packages/six", "/packages/six/"])
def test_directories_are_not_listed(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "whl" not in response.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_an_error_and_not_absent(client: Client, root: Path) -> None:
    (root / WHEEL[1:]).chmod(0)
    response = client.get(WHEEL)
    assert response.status_code == 500
    assert "cannot be read" in response.text


def test_an_error_of_the_disk_is_an_error_and_not_absence(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pypimirror.system.regular.open_file", broken)
    response = client.get(WHEEL)
    assert response.status_code == 500
    assert "cannot be read" in response.text


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_no_file_stays_open(client: Client) -> None:
    etag = client.get(WHEEL, buffered=True).headers["ETag"]
    before = len(os.listdir("/dev/fd"))
    conditions = [
        {},
        {"If-None-Match": etag},
        {"Range": "bytes=0-1"},
        {"Range": "bytes=99999999-"},
    ]
    for path in (*PAGES, WHEEL):
        for headers in conditions:
            client.get(path, headers=headers, buffered=True)
            client.head(path, headers=headers, buffered=True)
    assert len(os.listdir("/dev/fd")) == before


# --- for people -----------------------------------------------------------------------------------


def test_the_root_says_how_to_install(client: Client) -> None:
    text = client.get("/", headers={"Host": "mirror.example:8080"}).text
    for line in (
        "pip install --index-url http://mirror.example:8080/simple/ --trusted-host mirror.example",
        "uv pip install --default-index http://mirror.example:8080/simple/",
        "poetry source add --priority=primary mirror http://mirror.example:8080/simple/",
    ):
        assert line in text
    assert "--trusted-host" not in client.get("/", base_url="https://mirror.example").text
    behind = client.get(
        "/", base_url="http://mirror.example", headers={"X-Forwarded-Proto": "https"}
    )
    assert "pip install --index-url https://mirror.example/simple/ PROJECT" in behind.text


def test_the_root_repeats_no_markup(client: Client) -> None:
    response = client.get("/", headers={"Host": "<script>alert(1)</script>"})
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_legacy_json_is_served_where_it_is(root: Path, client: Client) -> None:
    assert client.get("/pypi/six/json").status_code == 404
    (root / "pypi" / "six").mkdir(parents=True)
    (root / "pypi" / "six" / "json").write_text('{"last_serial":7,"info":{}}')
    answer = client.get("/pypi/six/json")
    assert (answer.status_code, answer.json) == (200, {"last_serial": 7, "info": {}})
    assert answer.headers["X-PyPI-Last-Serial"] == "7"  # bandersnatch asks for it
    assert answer.headers["Content-Type"] == "application/json"
    assert "must-revalidate" in answer.headers["Cache-Control"]
    moved = client.get("/pypi/Six/json")
    assert (moved.status_code, moved.headers["Location"]) == (301, "../six/json")
    assert client.get("/pypi/-x-/json").status_code == 404
    assert client.get("/pypi/six/").status_code == 404


@pytest.mark.parametrize(
    "path", ["/simple//six/", "//simple/six/", "/simple/six//", "//simple///six"]
)
def test_doubled_slashes_lead_to_the_page(client: Client, path: str) -> None:
    """As web servers merge them; by a redirect, since links of the page are relative."""
    response = client.get(f"http://mirror.test{path}")
    assert response.status_code == 301
    location = response.headers["Location"]
    end = "/" if path.endswith("/") else ""
    assert urljoin(f"http://mirror.test{path}", location) == f"http://mirror.test/simple/six{end}"
    assert location.count("../") == path.count("/") - 1, "each segment counts, also an empty one"
    assert client.get("http://mirror.test//elsewhere.test//x").status_code == 404


def test_a_project_without_the_older_json_is_not_said_to_be_missing(
    client: Client, root: Path
) -> None:
    for file in root.glob("pypi/*/json"):
        file.unlink()
    assert "'legacy' in [publish] formats" in client.get("/pypi/six/json").text
    assert "no such project" in client.get("/pypi/nothing/json").text
