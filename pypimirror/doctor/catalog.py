"""Checks the catalog, and says whether a run is under way."""

from __future__ import annotations

from collections.abc import Iterator

from pypimirror.catalog import damage, inspection
from pypimirror.catalog.database import SCHEMA_REVISION, CatalogError, is_absent
from pypimirror.catalog.holder import this_machine
from pypimirror.config.settings import Config
from pypimirror.doctor.finding import Finding, failed, ok, skipped, warning
from pypimirror.storage.opening import has_files


def check(config: Config) -> Iterator[Finding]:
    """Check that the catalog is there, is whole and has this version's schema."""
    if is_absent(config.catalog_url):
        files = has_files(config.directory, config.bucket)
        seen = "is not there"
        if files:
            remedy = "'pypimirror adopt' makes one from them"
            yield warning("catalog", f"{seen}, though files are", remedy)
        else:
            yield skipped("catalog", f"{seen} yet; the first sync makes it")
        return
    try:
        found = inspection.look(config.catalog_url)
    except CatalogError as error:
        yield failed("catalog", str(error), "Correct what the message names")
        return
    yield _usable(found)
    if not found.faults:
        yield _run(found)


def _usable(found: inspection.Inspection) -> Finding:
    if found.faults:
        return failed("catalog", f"is damaged: {'; '.join(found.faults)}", damage.REMEDY)
    if found.is_current:
        return ok("catalog", f"opens and is whole, schema {found.revision}")
    if found.revision is None:
        return failed("catalog", "is not pypimirror's", "Name another one in [mirror] catalog")
    if found.revision > SCHEMA_REVISION:
        return failed(
            "catalog",
            f"was written by a newer pypimirror (schema {found.revision}, not {SCHEMA_REVISION})",
            "Install that version, or restore the catalog from before its upgrade",
        )
    return warning(
        "catalog",
        f"is of an earlier pypimirror (schema {found.revision}, not {SCHEMA_REVISION})",
        "Back it up: the next run brings it up to date",
    )


def _run(found: inspection.Inspection) -> Finding:
    if not found.running:
        return ok("run", "none is under way")
    row = found.running[-1]
    told = f"{row.command} {row.name}, process {row.pid} on {row.host}"
    if found.lease is None or not found.lease.is_in_force(this_machine()):
        return warning(
            "run", f"{told}: was killed", "The next run closes it and continues its work"
        )
    return ok("run", f"{told}: is under way")
