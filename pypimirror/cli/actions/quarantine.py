"""`pypimirror quarantine`: list, explain, release and clear what failed verification."""

from __future__ import annotations

import msgspec

from pypimirror.catalog.queries import runs
from pypimirror.cli.display import table
from pypimirror.cli.display.amounts import amount, when
from pypimirror.cli.display.output import out, print_json
from pypimirror.cli.display.table import Column
from pypimirror.config.settings import Config
from pypimirror.domain import documents
from pypimirror.domain.model import Reason
from pypimirror.pipeline.lifecycle import open_mirror
from pypimirror.pipeline.verify import quarantine
from pypimirror.pipeline.verify.quarantine import QuarantineReport
from pypimirror.storage.workspace import Workspace


def list_entries(config: Config, *, as_json: bool) -> None:
    """List what is in quarantine."""
    found = quarantine.entries(Workspace(config.directory))
    if as_json:
        print_json({"quarantine": [_document(entry) for entry in found]})
        return
    if not found:
        out.print("Nothing is in quarantine.")
        return
    table.show(_ENTRIES, map(_row, found))


def _document(entry: QuarantineReport) -> documents.QuarantineEntry:
    told: documents.QuarantineEntry = msgspec.to_builtins(entry)
    told["at_iso"] = documents.iso(entry.at)
    return told


_ENTRIES = (
    Column("file"),
    Column("reason", plain=True),
    Column("size", right=True, plain=True),
    Column("project"),
    Column("since"),
    Column("id", right=True),
)


def _row(entry: QuarantineReport) -> tuple[str, ...]:
    size = amount(entry.observed_size)
    reason = entry.reason.value
    return entry.file, reason, size, entry.project, when(entry.at), str(entry.id)


def explain(config: Config, name: str, *, as_json: bool) -> None:
    """Print what was claimed about an entry, and what was found."""
    workspace = Workspace(config.directory)
    entry = quarantine.observed(workspace, quarantine.find(workspace, name))
    if as_json:
        print_json(_document(entry))
        return
    out.print(f"{entry.file} of {entry.project}: {entry.reason.value}", markup=False)
    out.print(f"  {entry.message}", markup=False)
    on = f"; kept on {entry.host}" if entry.host else ""
    out.print(f"  fetched from {entry.url} in run {entry.run}{on}", markup=False)
    _claims("claimed ", entry.claimed, entry.claimed_size)
    _claims("observed", entry.observed, entry.observed_size)


def _claims(title: str, digests: dict[str, str], size: int | None) -> None:
    out.print(f"  {title} size {'unknown' if size is None else f'{size} bytes'}", markup=False)
    for algorithm, value in digests.items():
        out.print(f"  {title} {algorithm} {value}", markup=False)


def release(config: Config, name: str, *, as_json: bool) -> None:
    """Put an entry's bytes back, so that the next sync verifies them again.

    The next sync accepts exactly these bytes if only the archive is faulty, or if a file of this
    name waits for a better proof.
    """
    with open_mirror(config) as (catalog, workspace):
        try:
            entry = quarantine.find(workspace, name)
        except quarantine.NotInQuarantineError:
            sha256 = quarantine.let_in(catalog, workspace, name)
            if sha256 is None:
                if (where := quarantine.elsewhere(catalog, name)) is not None:
                    raise quarantine.NotInQuarantineError(where) from None
                raise
            _tell_released(name, sha256, as_json=as_json)
            return
        with catalog.read() as connection:
            last = runs.recent(connection, 1)
        done = quarantine.release(catalog, workspace, entry, last[0].id if last else 0)
    if as_json:
        print_json({"file": entry.file, "released": done})
    elif done and entry.reason is Reason.BAD_ARCHIVE:
        _tell_released(entry.file, entry.observed["sha256"], as_json=False)
    elif done:
        out.print(f"{entry.file}: the next 'pypimirror sync' verifies it again.", markup=False)
    else:
        out.print(f"{entry.file}: is not waiting for bytes any more; nothing done.", markup=False)


def _tell_released(file: str, sha256: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"file": file, "released": True})
        return
    out.print(
        f"{file}: the next 'pypimirror sync' accepts these bytes, with sha256 {sha256}, if they "
        "can be read to their end and contradict no digest.",
        markup=False,
    )


def clear(config: Config, name: str | None, *, as_json: bool) -> None:
    """Delete one entry, or all of them."""
    with open_mirror(config) as (_, workspace):
        named = None if name is None else [quarantine.find(workspace, name)]
        found = named or quarantine.entries(workspace)
        for entry in found:
            quarantine.discard(workspace, entry)
    if as_json:
        print_json({"cleared": [entry.file for entry in found]})
    else:
        out.print(f"Cleared {len(found)} from quarantine.")
