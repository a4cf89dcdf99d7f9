"""`pypimirror relock`: print a lock from elsewhere with the addresses of this mirror."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from pypimirror.check import targets
from pypimirror.check.check import shelf_of
from pypimirror.check.relock import Relocked, relock
from pypimirror.cli.display.output import err, print_json
from pypimirror.cli.errors import Exit, no_mirror
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain import operating_documents as documents
from pypimirror.select.locks import registry
from pypimirror.select.locks.lock import UnreadableLockError
from pypimirror.storage.opening import has_pages
from pypimirror.system import texts

#: Addresses that a server can listen on, but that no client can ask.
_ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104


def run(config: Config, file: Path, base_url: str | None, *, as_json: bool, quiet: bool) -> Exit:
    """Print a lock with the addresses of this mirror, or name the files that it lacks."""
    if not has_pages(config.directory, config.bucket):
        raise no_mirror(config.shown)
    select = config.select
    is_declared = bool(select.python or select.platforms)
    environments = targets.chosen((), (), select.python, select.platforms) if is_declared else ()
    base = _base(config, base_url)
    files = _of_files(config, base)
    try:
        lock, text = registry.read(file.absolute()), texts.read(file)
    except (UnreadableLockError, texts.TextError) as error:
        raise ConfigError(str(error)) from error
    found = relock(shelf_of(config), lock, text, environments, f"{base}simple/", files)
    if as_json:
        print_json(_document(found))
    elif not found.gaps:
        sys.stdout.write(found.text)
        sys.stdout.flush()
    if not quiet or found.gaps:
        _tell(found, file, base)
    return Exit.INCOMPLETE if found.gaps else Exit.DONE


def _base(config: Config, given: str | None) -> str:
    """Return the address of the mirror root for installers."""
    if given is None:
        host = config.up.host
        if host in _ANYWHERE:
            raise ConfigError(
                "relock: [up] host is where the mirror listens, not its name for clients; give "
                "--base-url, as in http://mirror.example.org:8080/"
            )
        given = f"http://{f'[{host}]' if ':' in host else host}:{config.up.port}/"
    if not _is_base(given):
        raise ConfigError(f"--base-url {given}: is no address such as http://mirror.example.org/")
    return f"{given.rstrip('/').removesuffix('/simple')}/"


def _is_base(address: str) -> bool:
    try:
        parts = urlsplit(address)
        has_place = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as an IPv6 address without its end, or an invalid port
        return False
    return has_place and not (parts.query or parts.fragment)


def _of_files(config: Config, base: str) -> str:
    """Return the beginning of the addresses of files, as in links on pages."""
    stated = config.publish.base_url
    if not stated:
        return base
    if stated.startswith("/"):
        parts = urlsplit(base)
        return f"{parts.scheme}://{parts.netloc}{stated}"
    return stated


def _tell(found: Relocked, file: Path, base: str) -> None:
    if found.gaps:
        err.print(f"{file}: not all of it is on this mirror:", markup=False)
        for gap in found.gaps:
            err.print(f"  {gap}", markup=False)
        err.print("'pypimirror check --lock' says how to get it", markup=False)
        return
    err.print(
        f"{file}: addresses are those of {base} now (files: {found.files}, indexes: "
        f"{found.indexes})",
        markup=False,
    )
    if found.kept:
        err.print(
            f"Addresses that stay, of files for environments that are not mirrored: {found.kept}",
            markup=False,
        )


def _document(found: Relocked) -> documents.RelockDocument:
    return {
        "complete": not found.gaps,
        "text": None if found.gaps else found.text,
        "files": found.files,
        "indexes": found.indexes,
        "kept": found.kept,
        "missing": [str(gap) for gap in found.gaps],
    }
