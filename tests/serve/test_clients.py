"""pip and uv install from the rendered pages, served, with hashes required."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import buckets
from tests.serve.test_server import serving
from tests.serve.tree import add_project, add_root_index, configure, in_bucket, wheel


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mirror")
    add_project(directory, "base-lib", wheel("base-lib", "1.0+local.1"))
    add_project(
        directory,
        "tiny-app",
        wheel("tiny-app", "1.0", requires=["base-lib"]),
        wheel("tiny-app", "2.0", requires=["base-lib"]),
    )
    add_root_index(directory, "base-lib", "tiny-app")
    return directory


#: A mirror on object storage, whose server passes files on, or sends clients there.
BUCKETS = {"bucket": False, "redirects": True}


@pytest.fixture(scope="module", params=["serve", "static server", "file", *BUCKETS])
def index(
    root: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "serve":
        with serving(root) as server:
            yield f"{server.url}simple/"
    elif request.param in BUCKETS:
        bucket = in_bucket(root, request.getfixturevalue("moto"))
        file = tmp_path_factory.mktemp("configured") / "pypimirror.toml"
        configure(file, bucket, redirect=BUCKETS[request.param])
        with pytest.MonkeyPatch.context() as context:
            for name, value in buckets.ENVIRONMENT.items():
                context.setenv(name, value)
            with serving(file, where="--bucket") as server:
                yield f"{server.url}simple/"
    elif request.param == "file":
        yield f"{root.as_uri()}/simple/"
    else:
        quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        handler = functools.partial(quiet, directory=str(root))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/simple/"
            server.shutdown()


@pytest.fixture
def requirements(root: Path, tmp_path: Path) -> Path:
    lines = []
    for path in sorted(root.glob("packages/*/*.whl")):
        name, version = path.name.split("-")[:2]
        if version != "1.0":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    file = tmp_path / "requirements.txt"
    file.write_text("".join(lines))
    return file


def run(*command: str | Path) -> None:
    """Run a client that no setting of this machine leads elsewhere."""
    ours = {k: v for k, v in os.environ.items() if not k.upper().startswith(("PIP_", "UV_"))}
    clean = {k: v for k, v in ours.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pip_downloads_and_checks_the_hashes(
    index: str, requirements: Path, tmp_path: Path
) -> None:
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
    options = ["--no-cache-dir", "--no-deps", "--only-binary=:all:", "--trusted-host=127.0.0.1"]
    where = ["--index-url", index, "--dest", str(tmp_path / "out")]
    run(*pip, "download", *options, *where, "--require-hashes", "-r", requirements)
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["base_lib-1.0+local.1-py3-none-any.whl", "tiny_app-2.0-py3-none-any.whl"]


@pytest.mark.skipif(importlib.util.find_spec("uv") is None, reason="uv is not installed")
def test_uv_installs_and_checks_the_hashes(index: str, requirements: Path, tmp_path: Path) -> None:
    import uv

    options = ["--no-config", "--no-cache", "--python", sys.executable, "--default-index", index]
    where = ["--target", str(tmp_path / "out")]
    run(
        uv.find_uv_bin(), "pip", "install", *options, *where, "--require-hashes", "-r", requirements
    )
    assert (tmp_path / "out/tiny_app/__init__.py").is_file()
    assert (tmp_path / "out/base_lib/__init__.py").is_file()


@pytest.mark.skipif(importlib.util.find_spec("uv") is None, reason="uv is not installed")
def test_uv_resolves_dependencies_from_the_served_metadata(index: str, tmp_path: Path) -> None:
    import uv

    options = ["--no-config", "--no-cache", "--python", sys.executable, "--default-index", index]
    run(
        uv.find_uv_bin(),
        "pip",
        "install",
        *options,
        "--target",
        str(tmp_path / "out"),
        "tiny-app<2",
    )
    assert '"1.0"' in (tmp_path / "out/tiny_app/__init__.py").read_text()
    assert (tmp_path / "out/base_lib/__init__.py").is_file()
