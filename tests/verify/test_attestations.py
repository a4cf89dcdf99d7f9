"""What keeps a provenance from being that of a file: everything that can be known offline."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from pypimirror.verify.attestations import fault
from tests.corpus.build import make_provenance

NAME, CONTENT = "six-1.16.0-py2.py3-none-any.whl", b"content"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def with_statement(**said: Any) -> bytes:
    """A provenance whose statement says something else."""
    document = json.loads(make_provenance(NAME, CONTENT))
    envelope = document["attestation_bundles"][0]["attestations"][0]["envelope"]
    statement = {**json.loads(base64.b64decode(envelope["statement"])), **said}
    envelope["statement"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(document).encode()


def test_a_provenance_of_the_file_is_right() -> None:
    assert fault(make_provenance(NAME, CONTENT), NAME, SHA256) is None


@pytest.mark.parametrize(
    "name", ["six-1.16.0-py3.py2-none-any.whl", "Six-1.16-py2.py3-none-any.whl"]
)
def test_a_name_in_another_spelling_is_the_same_name(name: str) -> None:
    assert fault(make_provenance(name, CONTENT), NAME, SHA256) is None


@pytest.mark.parametrize("line", ["\n", "\r\n", " ", "\n\t"])
def test_base64_may_be_broken_into_lines(line: str) -> None:
    """As pydantic's own encoder of bytes writes it."""
    document = json.loads(make_provenance(NAME, CONTENT))
    envelope = document["attestation_bundles"][0]["attestations"][0]["envelope"]
    text = base64.encodebytes(base64.b64decode(envelope["statement"])).decode()
    assert text.count("\n") > 1
    envelope["statement"] = text.replace("\n", line)
    assert fault(json.dumps(document).encode(), NAME, SHA256) is None
    envelope["statement"] = text.replace("\n", "*")
    assert "cannot be read" in (fault(json.dumps(document).encode(), NAME, SHA256) or "")


SUBJECT = {"name": NAME, "digest": {"sha256": SHA256}}


@pytest.mark.parametrize(
    "provenance",
    [
        b"",
        b"\xff",
        b"null",
        b"[" * 500_000,
        b'{"x":' * 200_000,
        b'{"version": 1}',
        b'{"version": 1, "attestation_bundles": []}',
        b'{"version": 2, "attestation_bundles": []}',
        b'{"version": 1, "attestation_bundles": [{"attestations": []}]}',
        b'{"version":1,"attestation_bundles":[{"attestations":[{"envelope":{"statement":"*"}}]}]}',
        make_provenance("six-1.15.0-py2.py3-none-any.whl", CONTENT),
        make_provenance("six-1.16.0.tar.gz", CONTENT),
        make_provenance("a" * 300, CONTENT),
        make_provenance(f"six-1.0-{'a.' * 90_000}a-{'b.' * 90_000}b-c.whl", CONTENT),
        make_provenance(NAME, b"other"),
        make_provenance(NAME, CONTENT)[:-20],
        with_statement(subject=[]),
        with_statement(subject=[SUBJECT, SUBJECT]),
        with_statement(subject=[{"name": NAME, "digest": {"md5": "00"}}]),
        with_statement(_type="https://in-toto.io/Statement/v0.1"),
    ],
    ids=lambda value: value[:30].decode(errors="replace"),
)
def test_all_else_is_refused(provenance: bytes) -> None:
    assert fault(provenance, NAME, SHA256)


LONG = b"9" * 4301


def with_more(more: bytes) -> bytes:
    """A provenance that holds something that nobody knows."""
    return make_provenance(NAME, CONTENT)[:-1] + b', "more": ' + more + b"}"


def with_more_in_its_statement(more: bytes) -> bytes:
    """The same in what the envelope holds."""
    document = json.loads(make_provenance(NAME, CONTENT))
    envelope = document["attestation_bundles"][0]["attestations"][0]["envelope"]
    statement = base64.b64decode(envelope["statement"])[:-1] + b', "more": ' + more + b"}"
    envelope["statement"] = base64.b64encode(statement).decode()
    return json.dumps(document).encode()


@pytest.mark.parametrize("where", [with_more, with_more_in_its_statement])
@pytest.mark.parametrize(
    ("more", "is_read"),
    [
        *((b"9" * 4300, True), (b"-" + b"9" * 4300, True), (b'"' + LONG + b'"', True)),
        *((LONG + b".0", True), (b'{"any": [1, null]}', True)),
        *((LONG, False), (b"-" + LONG, False), (b'{"any": [' + LONG + b"]}", False)),
        *((b'"\xff"', False), (b"[" * 100_000 + b"]" * 100_000, False)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_clients_in_python_cannot_read_is_refused(
    where: Callable[[bytes], bytes], more: bytes, *, is_read: bool
) -> None:
    """Also what no reader with types looks at, since it knows no such key."""
    provenance = where(more)
    assert (fault(provenance, NAME, SHA256) is None) == is_read
    if is_read:
        json.loads(provenance)
    else:
        with pytest.raises((ValueError, RecursionError)):
            json.loads(provenance)
            document = json.loads(provenance)
            envelope = document["attestation_bundles"][0]["attestations"][0]["envelope"]
            json.loads(base64.b64decode(envelope["statement"]))


def test_each_of_several_attestations_must_be_of_the_file() -> None:
    good = json.loads(make_provenance(NAME, CONTENT))
    bad = json.loads(make_provenance(NAME, b"other"))
    good["attestation_bundles"] += bad["attestation_bundles"]
    said = fault(json.dumps(good).encode(), NAME, SHA256)
    assert said is not None and "other bytes" in said
