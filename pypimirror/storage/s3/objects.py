"""Single objects of a bucket, by their full key: ask, read, put under a condition, remove, list.

All methods raise `RequestError`. This module decides nothing about the mirror.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.s3.clients import Clients
from pypimirror.storage.s3.faults import RequestError, changed_since

#: Bytes from which an object is sent in parts, and the smallest part: smaller ones are held in
#: memory whole, one for each connection.
PART = 8 << 20

#: Most parts of an object.
_PARTS = 10_000

_CHUNK = 1 << 20  #: bytes that are read at a time

#: The name of the metadata that holds the sha256 of an object, in hex.
SHA256 = "sha256"


class ObjectHead(NamedTuple):
    """The facts about an object that one HEAD request gives."""

    size: int  #: bytes
    etag: str
    sha256: str  #: as this program has stored it, hex; "" if it did not store the object


class ObjectContent(NamedTuple):
    """The content that an object must have."""

    content: bytes | Path  #: a path for large ones
    size: int  #: bytes
    sha256: str  #: hex
    content_type: str
    cache_control: str


class Objects:
    """The objects of a bucket. Safe to use from several threads."""

    def __init__(self, bucket: Bucket, clients: Clients) -> None:
        self.bucket = bucket
        self.clients = clients

    def head(self, key: str) -> ObjectHead | None:
        """Return the head of an object; None if there is no object."""
        clients = self.clients
        try:
            with clients.faults():
                found = clients.obstore.get(clients.store, key, options={"head": True})
                meta = found.meta
                return ObjectHead(meta["size"], meta["e_tag"] or "", _sha256(found.attributes))
        except RequestError as fault:
            if fault.is_absent:
                return None
            if fault.code or fault.is_unclear:
                raise
            raise self._explained(key, fault) from fault

    def _explained(self, key: str, fault: RequestError) -> RequestError:
        """Return the fault of a HEAD with its code: only answers to other requests have a body."""
        clients = self.clients
        try:
            with clients.faults():
                clients.obstore.get(clients.store, key)
        except RequestError as told:
            return fault if told.is_absent else told
        return fault

    def get(self, key: str) -> tuple[ObjectHead, Iterator[bytes]] | None:
        """Return an object and its bytes; None if there is none. Reading them raises, too."""
        clients = self.clients
        try:
            with clients.faults():
                found = clients.obstore.get(clients.store, key)
                meta = found.meta
                head = ObjectHead(meta["size"], meta["e_tag"] or "", _sha256(found.attributes))
        except RequestError as fault:
            if fault.is_absent:
                return None
            raise
        return head, self._chunks(found)

    def _chunks(self, found: Any) -> Iterator[bytes]:
        with self.clients.faults():
            for chunk in found.stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def put(
        self, key: str, body: ObjectContent, instead_of: ObjectHead | None, *, checked: bool
    ) -> ObjectHead:
        """Put an object in one step, if the key still has `instead_of` (None: no object).

        Without `checked`, any object is replaced.
        """
        if isinstance(body.content, Path):
            return self._put_in_parts(key, body, instead_of, checked=checked)
        clients = self.clients
        mode: Any = "overwrite"
        if checked:
            mode = "create" if instead_of is None else {"e_tag": instead_of.etag}
        attributes = {
            "Content-Type": body.content_type,
            "Cache-Control": body.cache_control,
            SHA256: body.sha256,
        }
        with clients.faults():
            told = clients.obstore.put(
                clients.store,
                key,
                body.content,
                attributes=attributes,
                mode=mode,
                use_multipart=False,
            )
        return ObjectHead(body.size, told["e_tag"] or "", body.sha256)

    def _put_in_parts(
        self, key: str, body: ObjectContent, instead_of: ObjectHead | None, *, checked: bool
    ) -> ObjectHead:
        """Send a large object in parts. If that fails, the upload is aborted at once.

        Parts of a process that was killed stay: docs/operations.md has the rule for the bucket that
        removes them.
        """
        boto, where = self.clients.boto, {"Bucket": self.bucket.name, "Key": key}
        condition: dict[str, str] = {}
        if checked:
            condition = {"IfMatch": instead_of.etag} if instead_of else {"IfNoneMatch": "*"}
        with self.clients.faults():
            upload = boto.create_multipart_upload(
                **where,
                ContentType=body.content_type,
                CacheControl=body.cache_control,
                Metadata={SHA256: body.sha256},
                ChecksumAlgorithm="SHA256",
            )["UploadId"]
            try:
                parts = list(self._send_parts(where | {"UploadId": upload}, body))
                told = boto.complete_multipart_upload(
                    **where, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
                )
            except BaseException:
                with suppress(Exception):
                    boto.abort_multipart_upload(**where, UploadId=upload)
                raise
        return ObjectHead(body.size, told["ETag"], body.sha256)

    def _send_parts(
        self, where: Mapping[str, str], body: ObjectContent
    ) -> Iterator[dict[str, Any]]:
        import base64
        import hashlib

        assert isinstance(body.content, Path)
        size = max(PART, -(-body.size // _PARTS))
        whole, sent = hashlib.sha256(), 0
        with body.content.open("rb") as stream:
            for number in range(1, -(-body.size // size) + 1):
                data = stream.read(size)
                whole.update(data)
                sent += len(data)
                sum_ = base64.b64encode(hashlib.sha256(data).digest()).decode()
                told = self.clients.boto.upload_part(
                    **where, PartNumber=number, Body=data, ChecksumSHA256=sum_
                )
                yield {"PartNumber": number, "ETag": told["ETag"], "ChecksumSHA256": sum_}
        if sent != body.size or whole.hexdigest() != body.sha256:
            raise changed_since(f"s3://{self.bucket.name}/{where['Key']}")

    def remove(self, key: str, only: ObjectHead | None = None) -> None:
        """Remove an object, or `only` this version of it. Without `only`, it may be missing.

        A server that does not know this condition removes any version.
        """
        where = {"Bucket": self.bucket.name, "Key": key}
        if only is not None:
            try:
                with self.clients.faults():
                    self.clients.boto.delete_object(**where, IfMatch=only.etag)
                return
            except RequestError as fault:
                if fault.status != HTTPStatus.NOT_IMPLEMENTED:
                    raise
        with self.clients.faults():
            self.clients.boto.delete_object(**where)

    def any_below(self, key: str) -> bool:
        """Whether there is an object whose key begins with `key` and a slash."""
        clients = self.clients
        try:
            with clients.faults():
                return any(clients.obstore.list(clients.store, key, chunk_size=1))
        except RequestError as fault:
            if fault.code == "InvalidPath":  # a foreign key that obstore cannot take
                return True
            raise

    def keys(self, prefix: str, most: int | None = None) -> Iterator[str]:
        """Yield the keys that begin with `prefix`, in any order; at most `most`."""
        more: dict[str, Any] = {} if most is None else {"MaxKeys": most}
        token: dict[str, str] = {}
        while True:
            with self.clients.faults():
                page = self.clients.boto.list_objects_v2(
                    Bucket=self.bucket.name, Prefix=prefix, **more, **token
                )
            yield from (each["Key"] for each in page.get("Contents", ()))
            if not page.get("IsTruncated") or most is not None:
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


def _sha256(attributes: Mapping[str, Any]) -> str:
    found = attributes.get(SHA256, "")
    text = found.decode("latin-1") if isinstance(found, bytes) else str(found)
    return text if len(text) == 64 else ""
