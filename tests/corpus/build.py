"""Small valid wheels and sdists, made in memory: the same arguments give the same bytes.

Both install with pip and uv; the sdists carry their own build backend, so that they need no other
index. What is wrong on purpose is the business of the tests that want it so.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import random
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.version import Version

_BACKEND = Path(__file__).with_name("in_tree_backend.py")
_MOMENT = (2020, 1, 1, 0, 0, 0)
_SECONDS = 1577836800  #: the same, since the epoch


def stem(name: str, version: str) -> str:
    """The beginning of a file name: both parts as the packaging standards want them."""
    with contextlib.suppress(ValueError):  # a version that does not parse is wanted so
        version = str(Version(version))
    return f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"


def core_metadata(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    lines: Iterable[str] = (),
    summary: str | None = None,
    description: str = "",
) -> bytes:
    """METADATA or PKG-INFO, with further header `lines`."""
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    head.append(f"Summary: {f'{name} for tests' if summary is None else summary}")
    if requires_python is not None:
        head.append(f"Requires-Python: {requires_python}")
    head += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join([*head, *lines]) + f"\n\n{description}\n").encode()


def modules(name: str, version: str, files: Mapping[str, bytes], padding: int) -> dict[str, bytes]:
    """What a package holds: a module that tells its version, and `padding` bytes of noise."""
    package = re.sub(r"[-_.]+", "_", name).lower()
    contents = {f"{package}/__init__.py": f'__version__ = "{version}"\n'.encode()}
    if padding:
        noise = random.Random(f"{name} {version}").randbytes(padding)
        contents[f"{package}/noise.bin"] = noise
    return contents | dict(files)


def record_line(name: str, data: bytes) -> str:
    """A line of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def pack_zip(contents: Mapping[str, bytes]) -> bytes:
    """A zip archive without the time of day."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return buffer.getvalue()


def pack_tar_gz(contents: Mapping[str, bytes]) -> bytes:
    """A gzipped tar without the time of day."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=_SECONDS) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), _SECONDS
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def make_wheel(
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    build: str | None = None,
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    lines: Iterable[str] = (),
    summary: str | None = None,
    description: str = "",
    files: Mapping[str, bytes] | None = None,
    padding: int = 0,
) -> tuple[str, bytes]:
    """A wheel: its file name and its bytes."""
    start = stem(name, version)
    information = f"{start}.dist-info"
    contents = modules(name, version, files or {}, padding)
    contents[f"{information}/METADATA"] = core_metadata(
        name,
        version,
        requires=requires,
        requires_python=requires_python,
        lines=lines,
        summary=summary,
        description=description,
    )
    pythons, abi, platform = tag.split("-")
    tags = "".join(f"Tag: {python}-{abi}-{platform}\n" for python in pythons.split("."))
    number = f"Build: {build}\n" if build else ""
    contents[f"{information}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n{number}{tags}".encode()
    )
    record = "".join(record_line(name, data) for name, data in contents.items())
    contents[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    filename = "-".join([start, build, tag] if build else [start, tag]) + ".whl"
    return filename, pack_zip(contents)


def make_sdist(
    name: str,
    version: str,
    *,
    suffix: str = ".tar.gz",
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    lines: Iterable[str] = (),
    summary: str | None = None,
    description: str = "",
    files: Mapping[str, bytes] | None = None,
    padding: int = 0,
) -> tuple[str, bytes]:
    """An sdist, `.tar.gz` or `.zip`: its file name and its bytes."""
    start = stem(name, version)
    contents = {
        f"{start}/src/{path}": data
        for path, data in modules(name, version, files or {}, padding).items()
    }
    contents[f"{start}/PKG-INFO"] = core_metadata(
        name,
        version,
        requires=requires,
        requires_python=requires_python,
        lines=lines,
        summary=summary,
        description=description,
    )
    contents[f"{start}/in_tree_backend.py"] = _BACKEND.read_bytes()
    contents[f"{start}/pyproject.toml"] = (
        b'[build-system]\nrequires = []\nbuild-backend = "in_tree_backend"\nbackend-path = ["."]\n'
    )
    return start + suffix, pack_zip(contents) if suffix == ".zip" else pack_tar_gz(contents)


def make_provenance(
    filename: str,
    content: bytes,
    *,
    sha256: str | None = None,
    publisher: Mapping[str, str] | None = None,
) -> bytes:
    """The provenance (PEP 740) of a file: one attestation that it was published, not signed."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": filename,
                "digest": {"sha256": sha256 or hashlib.sha256(content).hexdigest()},
            }
        ],
        "predicateType": "https://docs.example.org/attestations/publish/v1",
        "predicate": None,
    }
    envelope = {
        "statement": base64.b64encode(json.dumps(statement).encode()).decode(),
        "signature": "",
    }
    material = {"certificate": "", "transparency_entries": [{}]}
    attestation = {"version": 1, "verification_material": material, "envelope": envelope}
    bundle = {"publisher": dict(publisher or {"kind": "none"}), "attestations": [attestation]}
    return json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()
