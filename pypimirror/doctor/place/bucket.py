"""Checks the bucket of a mirror on object storage: credentials, access, conditions, the clock."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from pypimirror.config.settings import Config
from pypimirror.doctor.finding import Finding, failed, ok, warning
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.system import clock
from pypimirror.system.disk_errors import StorageError

#: Seconds by which the clocks may differ. From 15 minutes on, servers refuse all requests.
_SKEW, _REFUSED = 60, 900


def check(config: Config) -> Iterator[Finding]:
    """Check the bucket, if the mirror is in one."""
    bucket = config.bucket
    if bucket is None:
        return
    from pypimirror.storage.s3.clients import Clients  # its libraries are slow to load

    try:
        clients = Clients(bucket)
        boto = clients.boto
    except StorageError as error:
        yield _failed("credentials", error)
        return
    found = clients.found_by
    yield ok("credentials", f"the AWS SDK finds them: {found}")
    yield from _bucket(bucket, clients)
    yield from _clock(bucket, boto)


def _bucket(bucket: Bucket, clients: Any) -> Iterator[Finding]:
    """Do what a run does before it changes anything."""
    from pypimirror.storage.s3.objects import Objects
    from pypimirror.storage.s3.probe import probe

    try:
        probe(Objects(bucket, clients))
    except StorageError as error:
        yield _failed("bucket", error)
        return
    yield ok("bucket", f"{bucket.shown}: can be listed; objects can be put, replaced and removed")
    if bucket.exclusive:
        yield warning(
            "conditions",
            "not tried, because of s3.exclusive",
            "Leave s3.exclusive out if the server knows conditional writes; with it, only the lock "
            "of a run keeps two writers apart",
        )
    else:
        yield ok("conditions", "the server honours If-None-Match and If-Match of writes")


def _clock(bucket: Bucket, boto: Any) -> Iterator[Finding]:
    """Compare the clock of this machine with the server's. A run does not need it to be right."""
    try:
        told = boto.list_objects_v2(Bucket=bucket.name, MaxKeys=1)
        date = told["ResponseMetadata"]["HTTPHeaders"]["date"]
        there = parsedate_to_datetime(date).timestamp()
    except Exception:  # noqa: BLE001 - the check of the bucket tells why it does not answer
        return
    apart = abs(clock.now() - there)
    seen = f"{apart:.0f} s apart from the clock of this machine"
    if apart > _SKEW:
        yield warning(
            "clock of the storage",
            seen,
            f"Set the clock, best with NTP: from {_REFUSED // 60} minutes on, the server refuses "
            "all requests",
        )
    else:
        yield ok("clock of the storage", seen)


def _failed(name: str, error: StorageError) -> Finding:
    """Return the finding for an error, which has the cause and the next step."""
    return failed(name, str(error), "Do what the message says")
