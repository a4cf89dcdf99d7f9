"""The place of a mirror on object storage: the bucket, the prefix of its keys, how to reach it.

It imports nothing slow, because every start reads the configuration.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

#: The form of a bucket's name. Amazon's rules are a little stricter, but other servers allow more.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,253}[a-z0-9]")

#: The form of a part of a prefix. Other characters are quoted by some clients and not by others.
_PART = re.compile(r"[A-Za-z0-9._~+=@,-]+")

_PREFIX_BYTES = 256  #: most bytes of a prefix: a key has at most 1,024

Addressing = Literal["auto", "path", "virtual"]


class Bucket(Struct, frozen=True):
    """A bucket with the settings to reach it."""

    name: str
    prefix: str = ""  #: without slashes at its ends; "" is the whole bucket
    endpoint: str = ""  #: the address of the server; "" is Amazon's
    region: str = ""  #: "" is the region that the SDK finds in the environment or a profile
    addressing: Addressing = "auto"
    connections: int = 32
    exclusive: bool = False

    @property
    def shown(self) -> str:
        """The address, for messages."""
        return f"s3://{self.name}/{self.prefix}" if self.prefix else f"s3://{self.name}"

    @property
    def is_virtual(self) -> bool:
        """Whether the bucket is a part of the host's name; `auto` means so only for Amazon."""
        return self.addressing == "virtual" or (self.addressing == "auto" and not self.endpoint)

    def key(self, path: str) -> str:
        """Return the full key of a path below the mirror root."""
        return f"{self.prefix}/{path}" if self.prefix else path


def parse(address: str) -> tuple[str, str]:
    """Return the bucket and the prefix of `s3://bucket/prefix`. Raises `ValueError`."""
    name, _, prefix = address.removeprefix("s3://").partition("/")
    prefix = prefix.removesuffix("/")
    if not address.startswith("s3://") or not _NAME.fullmatch(name):
        raise ValueError(
            "must be s3://bucket or s3://bucket/prefix; a bucket has 3 or more small letters, "
            "digits, dots and dashes"
        )
    parts = prefix.split("/") if prefix else []
    if any(not _PART.fullmatch(part) or part in (".", "..") for part in parts):
        raise ValueError(
            "has a prefix with an empty part, a dot alone, or a character other than letters, "
            "digits and . _ ~ + = @ , -"
        )
    if len(prefix) > _PREFIX_BYTES:
        raise ValueError(f"has a prefix of more than {_PREFIX_BYTES} bytes")
    return name, prefix
