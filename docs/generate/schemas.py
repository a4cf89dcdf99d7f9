"""`schemas/`: JSON Schema of what commands print, from `pypimirror.domain.documents`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from pypimirror.domain import documents

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: Each document by the name of its schema.
DOCUMENTS: dict[str, type] = {
    "adopt": documents.Adopted,
    "adopt-dry-run": documents.Translated,
    "check": documents.Installable,
    "deploy": documents.Deployed,
    "doctor": documents.Examination,
    "error": documents.Error,
    "explain": documents.Explanation,
    "init": documents.Initialised,
    "metrics": documents.Metrics,
    "quarantine": documents.Quarantine,
    "quarantine-clear": documents.Cleared,
    "quarantine-explain": documents.QuarantineEntry,
    "quarantine-release": documents.Released,
    "relock": documents.Relocked,
    "run": documents.RunResult,
    "runs": documents.Runs,
    "runs-show": documents.RunDetails,
    "serve": documents.Served,
    "status": documents.Status,
    "status-project": documents.ProjectStatus,
    "sync-dry-run": documents.Plan,
    "up": documents.Up,
}


def schemas() -> Iterator[tuple[str, str]]:
    """Yield each schema: its file's name, and the text."""
    for name, document in DOCUMENTS.items():
        yield f"{name}.schema.json", json.dumps(schema(document), indent=2) + "\n"


def schema(document: type) -> dict[str, Any]:
    """Return the schema of a document, which later versions may add keys to."""
    return {"$schema": DIALECT, "title": document.__name__, **msgspec.json.schema(document)}
