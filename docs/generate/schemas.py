"""`schemas/`: JSON Schema of what commands print, and of the pages in JSON, from their types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from pypimirror.domain import documents, operating_documents
from pypimirror.status import documents as status_documents

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: Each document by the name of its schema.
DOCUMENTS: dict[str, type] = {
    "adopt": operating_documents.Adopted,
    "adopt-dry-run": operating_documents.TranslationDocument,
    "check": operating_documents.Installable,
    "deploy": operating_documents.Deployed,
    "doctor": operating_documents.Examination,
    "error": operating_documents.Error,
    "explain": documents.ExplanationDocument,
    "init": operating_documents.Initialised,
    "metrics": operating_documents.Metrics,
    "quarantine": documents.Quarantine,
    "quarantine-clear": documents.Cleared,
    "quarantine-explain": documents.QuarantineEntry,
    "quarantine-release": documents.Released,
    "relock": operating_documents.RelockDocument,
    "run": documents.RunResult,
    "runs": documents.Runs,
    "runs-show": documents.RunDetails,
    "search": documents.SearchResults,
    "serve": operating_documents.Served,
    "status": documents.Status,
    "status-page": status_documents.MirrorStatus,
    "status-project": documents.ProjectsDocument,
    "sync-dry-run": documents.PlanDocument,
    "up": operating_documents.Up,
}


def schemas() -> Iterator[tuple[str, str]]:
    """Yield each schema: its file's name, and the text."""
    for name, document in DOCUMENTS.items():
        yield f"{name}.schema.json", json.dumps(schema(document), indent=2) + "\n"


def schema(document: type) -> dict[str, Any]:
    """Return the schema of a document, which later versions may add keys to."""
    return {"$schema": DIALECT, "title": document.__name__, **msgspec.json.schema(document)}
