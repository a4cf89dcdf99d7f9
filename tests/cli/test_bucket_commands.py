"""A mirror in a bucket answers the commands as one in a directory does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import buckets
from tests.cli.conftest import Command
from tests.corpus.build import core_metadata, make_wheel, pack_tar_gz
from tests.mirror import offer
from tests.simulator import Simulator
from tests.storage.s3.mirrors import InBucket

pytestmark = pytest.mark.usefixtures("keys_of_the_bucket")

LINUX = ("--python", "3.12", "--platform", "manylinux_2_28_x86_64")

SDIST = {
    "built-1.0/PKG-INFO": core_metadata("built", "1.0", requires=["base"]).replace(
        b"Version: 2.1", b"Version: 2.2"
    ),
    "built-1.0/pyproject.toml": b"[build-system]\nrequires = []\n",
}


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator, seaweed: buckets.Server) -> InBucket:
    """A mirror that has `app` and what it needs, and `built`, whose requirements an sdist tells."""
    name, content = make_wheel("app", "1.0", requires=["base>=1"])
    simulator.add_file("app", name, content, core_metadata=True)
    offer(simulator, "base", "1.0", "2.0")
    simulator.add_file("built", "built-1.0.tar.gz", pack_tar_gz(SDIST))
    made = InBucket(tmp_path, simulator, seaweed.bucket())
    assert made.sync().state == "completed"
    return made


def test_what_is_in_a_bucket_is_checked_and_locks_lead_there(
    run: Command, mirror: InBucket, seaweed: buckets.Server
) -> None:
    page = mirror.content()["simple/app/index.html"].decode()
    digest = page.partition("#sha256=")[2][:64]
    text = (
        'lock-version = "1.0"\ncreated-by = "tests"\n[[packages]]\nname = "app"\n'
        'version = "1.0"\n[[packages.wheels]]\nname = "app-1.0-py3-none-any.whl"\n'
        f'url = "https://example.org/app.whl"\nhashes = {{ sha256 = "{digest}" }}\n'
    )
    (mirror.mirror.base / "pylock.toml").write_text(text)
    with buckets.proxied(seaweed) as proxy:
        mirror.reach(buckets.through(mirror.bucket, proxy))
        found = run("check", "app", "built", *LINUX, "--json")
        assert found.code == 0, found
        assert found.json["environments"][0]["releases"] == 3, "the sdist there names base"
        assert run("check", "--lock", "pylock.toml").code == 0
        locked = run("relock", "pylock.toml", "--base-url", "http://mirror.example.org/")
        assert (locked.code, locked.out.count("http://mirror.example.org/packages/app/")) == (0, 1)
        wheels = [path for method, path in proxy.seen if method == "GET" and path.endswith(".whl")]
        assert not wheels, "core metadata beside a wheel tells all"
    assert run("status", "--json").json["storage"] == mirror.bucket.shown

    # A sync checks as well: first all is there, and then something is lost.
    mirror.reach(mirror.bucket)
    asked = {"projects": ["app", "base", "built"], "check": True, "python": ["3.12"]}
    mirror.mirror.configure(select=asked)
    assert mirror.sync().state == "completed"
    key = mirror.bucket.key("packages/base/base-2.0-py3-none-any.whl")
    store = buckets.client(mirror.bucket.endpoint)
    store.delete_object(Bucket=mirror.bucket.name, Key=key)
    (told,) = run("check", "base>1", *LINUX, "--offline", "--json").json["environments"]
    assert [each["kind"] for each in told["missing"]] == ["lost"]


def test_a_bucket_that_does_not_answer_is_not_a_mirror_without_files(
    run: Command, mirror: InBucket, seaweed: buckets.Server
) -> None:
    """uv calls a page or file that it does not get absent; what it says then does not count."""
    wanted = mirror.mirror.base / "wanted.txt"
    wanted.write_text(f"app==1.0 --hash=sha256:{'0' * 64}\n")
    with buckets.proxied(seaweed) as proxy:
        mirror.reach(buckets.through(mirror.bucket, proxy))
        for part, asked in (
            ("simple/app/", ("app", *LINUX)),
            ("app-1.0-py3-none-any.whl.metadata", ("app", *LINUX)),
            ("simple/app/", ("-r", "wanted.txt")),
        ):
            proxy.rules.clear()
            proxy.break_("GET", part, times=1000, status=403, code="AccessDenied")
            found = run("check", *asked, "--offline", "--json")
            assert found.code == 3, found
            assert "s3:GetObject" in found.json["error"]["message"]
