"""Attestations (PEP 740): does a provenance belong to exactly this file?

This module makes the checks that need no network: each attestation's statement names the file and
its sha256, and clients in Python can read all of it. Clients check signatures, certificates, the
transparency log and the publisher when they install; they have the same bytes. Sources:
https://peps.python.org/pep-0740/ and https://in-toto.io/Statement/v1
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from pypimirror.domain import bounded

#: Bytes of the largest provenance that is accepted; PyPI's have some ten thousand.
MAX_SIZE = 1 << 20

#: Characters of the longest name that a file may have.
_LONGEST = 255

_STATEMENT = "https://in-toto.io/Statement/v1"


class _Subject(msgspec.Struct):
    name: str
    digest: dict[str, str]


class _Statement(msgspec.Struct):
    type: str = msgspec.field(name="_type")
    subject: list[_Subject]


class _Envelope(msgspec.Struct):
    statement: str


class _Attestation(msgspec.Struct):
    envelope: _Envelope


class _Bundle(msgspec.Struct):
    attestations: list[_Attestation]


class _Provenance(msgspec.Struct):
    version: int
    attestation_bundles: list[_Bundle]


_decode = msgspec.json.Decoder(_Provenance).decode
_decode_statement = msgspec.json.Decoder(_Statement).decode


def fault(provenance: bytes, filename: str, sha256: str) -> str | None:
    """Return why a provenance does not belong to a file with this digest, or None."""
    try:
        document = _decode(provenance)
        if document.version != 1:
            return f"its version is {document.version}, and only version 1 is known"
        found = [each for bundle in document.attestation_bundles for each in bundle.attestations]
        texts = [_unpacked(each.envelope.statement) for each in found]
        statements = [_decode_statement(text) for text in texts]
        for text in (provenance, *texts):  # also the parts that this module does not use
            bounded.check_json(text)
    except (ValueError, RecursionError) as error:
        return f"it cannot be read: {error}"
    if not statements:
        return "it holds no attestation"
    faults = (_fault_of(statement, filename, sha256) for statement in statements)
    return next((each for each in faults if each is not None), None)


def _unpacked(statement: str) -> bytes:
    """Decode base64; raises `ValueError`.

    Line breaks are ignored: pydantic and MIME's encoders write one after every 76 characters, and
    verifiers of attestations accept them. All else that is not base64 is refused.
    """
    lines = statement.encode().split()
    return binascii.a2b_base64(b"".join(lines), strict_mode=True)


def _fault_of(statement: _Statement, filename: str, sha256: str) -> str | None:
    if statement.type != _STATEMENT:
        return f"a statement in it is of the unknown type {statement.type[:100]!r}"
    if len(statement.subject) != 1:
        return f"a statement in it has {len(statement.subject)} subjects, not one"
    (subject,) = statement.subject
    if subject.name != filename and _parsed(subject.name) != _parsed(filename):
        return f"it is of another file, {subject.name[:200]!r}"
    claimed = subject.digest.get("sha256", "")
    if claimed.lower() != sha256:
        return f"it is of other bytes, with sha256 {claimed[:64] or 'not named'!r}, not {sha256}"
    return None


def _parsed(filename: str) -> Any:
    """Return the parts of a name: attestations may have it in another spelling."""
    if len(filename) > _LONGEST:  # its tags could multiply to millions
        return filename
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)
        return *parse_sdist_filename(filename), filename.endswith(".zip")
    except (InvalidWheelFilename, InvalidSdistFilename):
        return filename
