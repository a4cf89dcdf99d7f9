"""Shows how well files are proven, as text and as JSON. It gets rows, and reads no catalog."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pypimirror.catalog.states import State
from pypimirror.cli.display.amounts import when
from pypimirror.cli.display.output import as_json, escape, out
from pypimirror.domain import documents
from pypimirror.verify.proof import Proof

if TYPE_CHECKING:
    from pypimirror.catalog.records import FileRecord, ProjectFile


def document(file: FileRecord) -> documents.ProofDocument | None:
    """Return how a file is proven: level, algorithm, source and time; None if it is not."""
    if file.proof is None:
        return None
    return {
        "level": Proof(file.proof).label,
        "algorithm": file.proof_algorithm,
        "source": file.proof_source,
        "at": file.proven_at,
        "at_iso": documents.iso(file.proven_at),
    }


def text(proof: documents.ProofDocument | None) -> str:
    """Return a proof as text; "" for None."""
    if proof is None:
        return ""
    by = f" {proof['algorithm']} by {proof['source']}" if proof["algorithm"] else ""
    return f"{proof['level']}{by}, {when(proof['at'])}"


def stream(rows: Iterable[ProjectFile], run: documents.RunDocument, *, in_json: bool) -> None:
    """Print files with their proofs, one at a time: a run may have proved millions.

    In JSON, the files are the last key of the run's document, `run`.
    """
    if not in_json:
        for row in rows:
            out.print(f"  {escape(row.filename)}: {escape(text(document(row)))}")
        return
    sys.stdout.write(as_json(run).removesuffix("\n}") + ',\n  "files": [')
    separator = "\n    "
    for row in rows:
        sys.stdout.write(separator + as_json(_file(row), indent=0))
        separator = ",\n    "
    sys.stdout.write("\n  ]\n}\n")
    sys.stdout.flush()


def _file(row: ProjectFile) -> documents.ProvenFile:
    return {
        "project": row.project,
        "file": row.filename,
        "state": State(row.state).label,
        "proof": document(row),
    }
