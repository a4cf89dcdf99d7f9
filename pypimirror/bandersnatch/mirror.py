"""Translates the options of `[mirror]` and of `[s3]`.

`OPTIONS` says what each option becomes, in the order of bandersnatch's own examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from pypimirror.bandersnatch.draft import Draft, Option, OptionOutcome, OptionResult
from pypimirror.config.sections import pypi_address, upstream_name
from pypimirror.domain.addresses import parse_proxy

_REFERENCE = re.compile(r"\{\{\s*([^_\s](?:[^_]*[^_\s])?)\s*_\s*(\S(?:.*?\S)?)\s*\}\}")
_FORMS = {"ALL": ["html", "json"], "HTML": ["html"], "JSON": ["json"]}

ONLY_DIRECTORIES = "only a tree in a directory can be taken over"


def mirror_root(draft: Draft) -> Path | None:
    """Return the directory that bandersnatch's web server serves; None if the tree is in none."""
    if draft.text("mirror", "storage-backend") not in ("", "filesystem"):
        return None
    home = draft.text("mirror", "directory")
    return Path(home).absolute() / "web" if home else None


def _directory(draft: Draft, _value: str) -> OptionResult:
    root = mirror_root(draft)
    if root is None:
        return OptionOutcome.NOT_POSSIBLE, "the storage is no directory of this machine"
    return OptionOutcome.TAKEN, draft.set("mirror", "directory", str(root))


def _storage(_draft: Draft, value: str) -> OptionResult:
    if value == "filesystem":
        return (
            OptionOutcome.NOT_NEEDED,
            "a mirror is in a directory, unless `[mirror] storage` says more",
        )
    return OptionOutcome.NOT_POSSIBLE, f"{ONLY_DIRECTORIES}: copy the tree to one, and name that"


def _master(draft: Draft, value: str) -> OptionResult:
    url = value.rstrip("/") + "/simple/"
    if url == pypi_address():
        return OptionOutcome.TAKEN, draft.set("upstream", "name", "pypi")
    draft.set("upstream", "name", upstream_name(url))
    draft.set("upstream", "url", url)
    draft.set("upstream", "hosts", ["*"])
    note = "[[upstream]] url" if urlsplit(url).username else draft.line("upstream", "url")
    return (
        OptionOutcome.TAKEN,
        f'{note}, hosts = ["*"]: if files are on private hosts, name these in `hosts`',
    )


def _proxy(draft: Draft, value: str) -> OptionResult:
    try:
        proxy = parse_proxy(value)
    except ValueError as error:
        return OptionOutcome.NOT_POSSIBLE, str(error)
    draft.set("download", "proxy", value)
    return OptionOutcome.TAKEN, f"[download] proxy: {proxy.shown}, in place of the environment's"


def _download_mirror(draft: Draft, value: str) -> OptionResult:
    line = draft.extend("upstream", "alternates", [value.rstrip("/") + "/simple/"])
    return OptionOutcome.TAKEN, f"{line}: asked if the upstream fails, not before it"


def _no_fallback(draft: Draft, _value: str) -> OptionResult:
    if draft.flag("mirror", "download-mirror-no-fallback"):
        return (
            OptionOutcome.NOT_POSSIBLE,
            "to ask only the other mirror, make it the upstream's `url`",
        )
    return OptionOutcome.NOT_NEEDED, "the upstream is asked first"


def _formats(draft: Draft, _value: str) -> OptionResult:
    name = draft.text("mirror", "simple-format").upper() or "ALL"
    if name not in _FORMS:
        raise ValueError(f"{name!r} is none of {', '.join(_FORMS)}")
    legacy = ["legacy"] if draft.flag("mirror", "json") else []
    return OptionOutcome.TAKEN, draft.set("publish", "formats", _FORMS[name] + legacy)


def _json(draft: Draft, value: str) -> OptionResult:
    outcome, line = _formats(draft, value)
    if not draft.flag("mirror", "json"):
        return OptionOutcome.NOT_NEEDED, "off unless `[publish] formats` has `legacy`"
    return (
        outcome,
        f"{line}: at pypi/<project>/json; json/<project> is not written any more, remove it",
    )


def _release_files(draft: Draft, _value: str) -> OptionResult:
    if draft.flag("mirror", "release-files"):
        return (
            OptionOutcome.NOT_NEEDED,
            "files are mirrored unless `[select] metadata_only` names them",
        )
    return OptionOutcome.TAKEN, draft.set("select", "metadata_only", ["*"])


def _root_uri(draft: Draft, value: str) -> OptionResult:
    if draft.text("mirror", "release-files") and not draft.flag("mirror", "release-files"):
        return OptionOutcome.NOT_NEEDED, "pages link to the same addresses as the upstream's pages"
    return OptionOutcome.TAKEN, draft.set("publish", "base_url", value.rstrip("/") + "/")


def _hash_index(draft: Draft, _value: str) -> OptionResult:
    if not draft.flag("mirror", "hash-index"):
        return OptionOutcome.NOT_NEEDED, "pages are at simple/<project>/"
    return (
        OptionOutcome.NOT_POSSIBLE,
        "pages are at simple/<project>/: once they are there, remove the web server's rewrite "
        "rules, then the directories with one letter",
    )


def _stop_on_error(draft: Draft, _value: str) -> OptionResult:
    if draft.flag("mirror", "stop-on-error"):
        return OptionOutcome.NOT_POSSIBLE, "what fails is reported and never stops the others"
    return OptionOutcome.NOT_NEEDED, "what fails never stops the others"


def _timeout(draft: Draft, value: str) -> OptionResult:
    return OptionOutcome.TAKEN, draft.set("download", "timeout", float(value))


def _index_versions(_draft: Draft, value: str) -> OptionResult:
    if int(value) == 0:
        return OptionOutcome.NOT_NEEDED, "old pages are not kept"
    return (
        OptionOutcome.NOT_POSSIBLE,
        "old pages are not kept; those in versions/ stay and can be removed. A page that the "
        "upstream empties falls under the guard of [delete]",
    )


def _diff_file(draft: Draft, value: str) -> OptionResult:
    def referred(found: re.Match[str]) -> str:
        if not (text := draft.text(found[1], found[2])):
            raise ValueError(f"{found[0]} names no option")
        return text

    path = Path(_REFERENCE.sub(referred, value)).absolute()
    if path.is_dir():
        path /= "mirrored-files"
    if draft.flag("mirror", "diff-append-epoch"):
        path = path.with_name(f"{path.name}-{{run}}")
    line = draft.set("publish", "changes", str(path))
    return OptionOutcome.TAKEN, f"{line}: relative paths, those of removed files among them"


def _append_epoch(draft: Draft, _value: str) -> OptionResult:
    if not draft.flag("mirror", "diff-append-epoch") or not draft.text("mirror", "diff-file"):
        return OptionOutcome.NOT_NEEDED, "the list is replaced by each run"
    return OptionOutcome.TAKEN, "`{run}` in [publish] changes"


def _mirror(
    name: str, meaning: str, take: Callable[[Draft, str], OptionResult] | None = None
) -> Option:
    return Option("mirror", name, meaning, take)


def _s3(name: str) -> Option:
    return Option("s3", name, ONLY_DIRECTORIES, outcome=OptionOutcome.NOT_POSSIBLE)


OPTIONS = (
    _mirror("directory", "`[mirror] directory`, with `/web`, and `layout = \"pypi\"`", _directory),
    _mirror("storage-backend", "`filesystem`: not needed; others: not possible", _storage),
    _mirror(
        "storage-filesystem-manage-permissions",
        "files get the permissions that the umask of the process leaves",
    ),
    _mirror("master", "`[[upstream]] url`", _master),
    _mirror("allow-non-https", "the scheme of `url` decides"),
    _mirror("proxy", "`[download] proxy`", _proxy),
    _mirror("download-mirror", "`[[upstream]] alternates`", _download_mirror),
    _mirror("download-mirror-no-fallback", "not possible if it is on", _no_fallback),
    _mirror("json", "`legacy` in `[publish] formats`", _json),
    _mirror("release-files", "`[select] metadata_only = [\"*\"]` if it is off", _release_files),
    _mirror("core-metadata", "taken from each wheel itself, always"),
    _mirror("simple-format", "`[publish] formats`", _formats),
    _mirror("hash-index", "not possible if it is on", _hash_index),
    _mirror("root_uri", "`[publish] base_url`", _root_uri),
    _mirror("keep-index-versions", "not possible, except for 0", _index_versions),
    _mirror("keep_index_versions", "the same", _index_versions),
    _mirror("digest_name", "files are checked against every digest that the upstream gives"),
    _mirror("compare-method", "a sync compares no files; `verify --quick` does what `stat` does"),
    _mirror("cleanup", "pages are written under normalized names only; `verify` names others"),
    _mirror("cleanup_todo", "projects that are gone upstream are withdrawn"),
    _mirror("delete_missing_packages", "the same, after the grace period of `[delete]`"),
    _mirror("stop-on-error", "not possible if it is on", _stop_on_error),
    _mirror("timeout", "`[download] timeout`", _timeout),
    _mirror("global-timeout", "a transfer may last as long as bytes come"),
    _mirror("workers", "the number of connections follows the upstream's speed; "
            "`[download] connections` limits them"),
    _mirror("verifiers", "`verify` uses all cores"),
    _mirror("diff-file", "`[publish] changes`", _diff_file),
    _mirror("diff-append-epoch", "`{run}` in `[publish] changes`", _append_epoch),
    _mirror("log-config", "logs go to standard error; `-v` and `-q` say how much"),
    *map(_s3, ("region_name", "aws_access_key_id", "aws_secret_access_key", "endpoint_url",
               "signature_version", "max_attempts", "verify_concurrency")),
)  # fmt: skip
