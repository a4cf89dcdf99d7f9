"""The meaning of each reason for a failure, and what an operator can do about it.

`docs/operations.md` has them as a table, too. The sentences name no path and no machine.
"""

from __future__ import annotations

from typing import NamedTuple

from pypimirror.domain.model import Reason


class Advice(NamedTuple):
    """A reason in words."""

    meaning: str
    remedy: str


_WAIT = "Nothing: the next run tries again. If it stays, check the network and the upstream."
_TELL = "Nothing can be done here. Tell whoever runs the upstream."
_REPAIR = "Run 'pypimirror verify --repair'."
_QUARANTINE = (
    "If a run fetched it, nothing: it is in quarantine (see 'pypimirror quarantine') and will be "
    "fetched again. If a verification found it, run 'pypimirror verify --repair'."
)
_DOCTOR = "Run 'pypimirror doctor': it says what is wrong and what to do."

REASONS: dict[Reason, Advice] = {
    Reason.CONNECTION: Advice(
        "The connection was refused or broken, the host is not known, or TLS failed.", _WAIT
    ),
    Reason.TIMEOUT: Advice("No byte, or too few bytes, came for too long.", _WAIT),
    Reason.HTTP_STATUS: Advice(
        "The upstream answered with an HTTP status other than success or 'not found'.",
        "If the status is 401 or 403, check the login of the upstream. Otherwise: "
        + _WAIT[:1].lower()
        + _WAIT[1:],
    ),
    Reason.MISSING: Advice(
        "The upstream does not have what its page names (404 or 410).",
        "If the configuration names it, check the name. Otherwise tell whoever runs the upstream.",
    ),
    Reason.DENIED: Advice(
        "A policy of the upstream keeps the file back (403 or 451).",
        "Nothing, if the policy is right. Otherwise ask whoever runs the upstream for the file.",
    ),
    Reason.TRUNCATED: Advice("Fewer bytes came than the answer announced.", _WAIT),
    Reason.TOO_LARGE: Advice(
        "More bytes came than allowed or announced.",
        "If the file is meant to be so large, raise '[download] max_file_size'.",
    ),
    Reason.BAD_RESPONSE: Advice("The answer breaks the rules of HTTP.", _TELL),
    Reason.REDIRECT: Advice(
        "The redirects are a loop, too many, or lead to a scheme that is not allowed.", _TELL
    ),
    Reason.HOST_NOT_ALLOWED: Advice(
        "A link leads to a host or an address that the configuration does not name.",
        "If you trust the host, add it to 'hosts' of the upstream.",
    ),
    Reason.BAD_PAGE: Advice(
        "The answer is no page of an index. It may be a sign-in page.",
        "Check the address and the login of the upstream.",
    ),
    Reason.BAD_LIST: Advice(
        "The list of projects is empty, or most of its projects have no page.",
        "Check the address of the upstream. What is mirrored stays until the list is right.",
    ),
    Reason.API_VERSION: Advice(
        "The upstream speaks a version of the simple API that is not known here.",
        "Install a newer version of pypimirror.",
    ),
    Reason.WRONG_PROJECT: Advice("A page or a file names another project than its own.", _TELL),
    Reason.UNSAFE_NAME: Advice("A file has a name that is not safe as a part of a path.", _TELL),
    Reason.DUPLICATE_NAME: Advice(
        "Two file names differ only by case or by the form of letters.", _TELL
    ),
    Reason.UNSAFE_URL: Advice("A link is neither http nor https.", _TELL),
    Reason.BAD_DIGEST: Advice("A digest has the wrong length, or is not hexadecimal.", _TELL),
    Reason.NO_PROOF: Advice(
        "The proof of the file is weaker than the configuration asks for.",
        "Accept such files with '[verify] accept', or leave them out with "
        "'[select] exclude_files'.",
    ),
    Reason.DIGEST_CONFLICT: Advice(
        "Two sources claim different digests for one file name.",
        "Find out which one is right, and set 'authoritative = true' for that upstream.",
    ),
    Reason.DIGEST_CHANGED: Advice(
        "The digest of a file is not the one that it was mirrored with. The old file stays.",
        "Find out why the upstream changed it. '[verify] on_changed' says what happens then.",
    ),
    Reason.QUARANTINED_UPSTREAM: Advice(
        "The upstream withholds too many files at once.",
        "Ask the upstream whether this is intended. Nothing was removed here.",
    ),
    Reason.DIGEST_MISMATCH: Advice("The bytes do not have the expected digest.", _QUARANTINE),
    Reason.SIZE_MISMATCH: Advice("The file does not have the expected size.", _QUARANTINE),
    Reason.METADATA_MISMATCH: Advice(
        "The core metadata differs from what the upstream announced.", _QUARANTINE
    ),
    Reason.PROVENANCE_MISMATCH: Advice(
        "The attestations cannot be read, or belong to another file.",
        "Nothing: the file is served without them. Tell the publisher.",
    ),
    Reason.BAD_ARCHIVE: Advice(
        "The archive is damaged, or its contents differ from its own list.", _QUARANTINE
    ),
    Reason.CONFIGURATION: Advice(
        "A setting cannot be applied.", "Correct the configuration; 'pypimirror doctor' reads it."
    ),
    Reason.DISK: Advice("The disk has no space, refuses to be written, or is broken.", _DOCTOR),
    Reason.CATALOG: Advice("The database cannot be read or written.", _DOCTOR),
    Reason.LOCK: Advice(
        "Another run may have taken the mirror over.",
        "Nothing: what was done is kept, and the next run continues.",
    ),
    Reason.WORKER: Advice(
        "A process that worked for the run died.",
        "Check the memory of the machine; the next run continues.",
    ),
    Reason.LOST: Advice("Bytes that should be here are missing.", _REPAIR),
    Reason.UNREADABLE: Advice("Bytes that are here cannot be read.", _DOCTOR),
    Reason.FOREIGN: Advice(
        "Something in the mirror root does not belong to the mirror.",
        "Move it away; pypimirror removes nothing that is not its own.",
    ),
    Reason.PAGE_DIFFERS: Advice("A page differs from what the catalog says.", _REPAIR),
    Reason.DELETION_GUARD: Advice(
        "Too much would have been removed at once, so nothing was removed.",
        "If the deletion is right, raise '[delete] max_share' and 'max_count' for one run.",
    ),
    Reason.INCOMPLETE: Advice(
        "A project of '[select] check' cannot be installed from this mirror.",
        "Run 'pypimirror check': it says what is missing and how to get it.",
    ),
    Reason.PLAN_DIFFERS: Advice(
        "The work to do differs from the plan.", "Make a new plan with 'pypimirror sync --dry-run'."
    ),
    Reason.CANCELLED: Advice("Somebody stopped the run.", "Nothing: the next run continues."),
    Reason.INTERNAL: Advice("A fault of pypimirror itself.", "Report it, with the log of the run."),
}
