"""Errors of object storage: the cause that the server or a library gave, and the next step.

A fault concerns one key, or the whole bucket. If this is not clear, `pypimirror.storage.s3.storage`
asks the server. Nothing here sends a request.
"""

from __future__ import annotations

import re

from pypimirror.domain.errors import PypimirrorError
from pypimirror.domain.model import Problem, Reason
from pypimirror.system.disk_errors import StorageError

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>|\(code: ([A-Za-z0-9]+)\)")
_CAUSE = re.compile(
    r"""invalid peer (certificate: \w+(?:\(\w+)*)|message: "([^"]+)"|(dns error|TimedOut)"""
)
_SAID = re.compile(r"<Message>([^<]{0,300})")

#: Codes that servers use for too many requests.
_BUSY = {"SlowDown", "ServiceUnavailable", "TooManyRequests", "Throttling", "RequestLimitExceeded"}

#: Codes that mean the credentials, with the cause and the next step.
_CREDENTIALS = {
    "ExpiredToken": (
        "the credentials have expired",
        "Get new ones, for example with 'aws sso login', and run again.",
    ),
    "InvalidAccessKeyId": (
        "the server does not know this access key",
        "Check where the AWS SDK finds the credentials: environment, profile, role.",
    ),
    "SignatureDoesNotMatch": (
        "the secret key is wrong",
        "Check where the AWS SDK finds the credentials: environment, profile, role.",
    ),
    "NoCredentials": (
        "the AWS SDK finds no usable credentials",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or log in with "
        "'aws sso login', and run again.",
    ),
}
_SAME_AS = {
    "TokenRefreshRequired": "ExpiredToken",
    "InvalidToken": "ExpiredToken",
    "ExpiredTokenException": "ExpiredToken",
    "RequestExpired": "ExpiredToken",
}

#: Other codes that mean the bucket as a whole.
_BUCKET = {
    "NoSuchBucket": (
        "the bucket does not exist",
        "Create it, or correct mirror.storage.",
    ),
    "RequestTimeTooSkewed": (
        "the clock of this machine differs too much from the server's",
        "Set the clock, best with NTP, and run again.",
    ),
    "AuthorizationHeaderMalformed": (
        "the bucket is in another region",
        "Set s3.region to the region of the bucket.",
    ),
    "PermanentRedirect": (
        "the bucket is in another region",
        "Set s3.region to the region of the bucket.",
    ),
}


class RequestError(Exception):
    """A request that failed. `status` is 0 if no answer came."""

    def __init__(self, status: int, code: str, said: str = "") -> None:
        super().__init__(f"{code or status}: {said}")
        self.status, self.said = status, said
        self.code = _SAME_AS.get(code, code)

    @property
    def is_absent(self) -> bool:
        """Whether there is no object with this key."""
        return self.status == 404 and self.code in ("", "NoSuchKey", "404", "NoSuchVersion")

    @property
    def is_denied(self) -> bool:
        """Whether the credentials are known and lack a permission."""
        return self.status == 403 and self.code not in _CREDENTIALS and self.code not in _BUCKET

    @property
    def is_lost_race(self) -> bool:
        """Whether the object has changed in the meantime, perhaps by this very request.

        An upload that is not there any more was completed by a request whose answer was lost.
        """
        return self.status in (409, 412) or self.is_absent or self.code == "NoSuchUpload"

    @property
    def is_unclear(self) -> bool:
        """Whether the request may have had its effect nevertheless."""
        return self.status == 0 or self.status >= 500

    @property
    def is_of_bucket(self) -> bool:
        """Whether all other keys would fail, too."""
        of_bucket = self.code in _CREDENTIALS or self.code in _BUCKET
        return of_bucket or self.is_unclear or self.status in (301, 307, 401)

    def explained(self, doing: str) -> tuple[str, str]:
        """Return the cause and the next step. `doing` is the verb, such as "write"."""
        if found := _CREDENTIALS.get(self.code) or _BUCKET.get(self.code):
            return found
        if self.status == 403:
            permission = _PERMISSIONS[doing]
            return (
                f"the server denies these credentials to {doing} it",
                f"Give them the permission {permission} for this prefix, and run again.",
            )
        if self.code in _BUSY or self.status == 503:
            return (
                f"the server is too busy ({self.code or self.status})",
                "Run again later, perhaps with fewer s3.connections.",
            )
        if self.status == 0:
            return (
                f"no answer came: {self.said or 'the connection failed'}",
                "Check s3.endpoint and the network, and run again.",
            )
        said = f": {self.said}" if self.said else ""
        return f"the server answers {self.status} {self.code}{said}", "Run again."


_PERMISSIONS = {
    "write": "s3:PutObject",
    "read": "s3:GetObject and s3:ListBucket (without the latter, an absent object looks denied)",
    "list": "s3:ListBucket",
    "remove": "s3:DeleteObject",
}


class BucketError(StorageError):
    """The bucket, or one key in it, cannot be read or written."""

    def __init__(self, thing: str, cause: str, step: str, *, is_of_key: bool = False) -> None:
        PypimirrorError.__init__(self, f"{thing}: {cause}. {step}")
        self.problem = Problem(Reason.DISK, str(self))
        self.is_of_path = is_of_key


def error_of(
    fault: RequestError, thing: str, doing: str, *, is_of_key: bool = False
) -> BucketError:
    """Return the error to raise for a fault."""
    return BucketError(thing, *fault.explained(doing), is_of_key=is_of_key)


def changed_since(thing: str) -> BucketError:
    """Return the error for bytes in staging that are not those that were verified."""
    return BucketError(
        thing,
        "its bytes in staging have changed since they were verified",
        "Check the disk; the next run fetches it again.",
        is_of_key=True,
    )


def replaced(thing: str) -> BucketError:
    """Return the error for an object that another process has put where one was to be removed."""
    return BucketError(
        thing,
        "another process has replaced it, so it was not removed",
        "The next run looks at it again.",
        is_of_key=True,
    )


def of_obstore(error: Exception) -> RequestError:
    """Return the fault of an error that obstore raised.

    Its classes say little, but the message has status and body of the answer.
    """
    text, _, details = str(error).partition("\n\nDebug source:")
    status, code, said = _STATUS.search(text), _CODE.search(text), _SAID.search(text)
    if type(error).__name__ == "InvalidPathError":
        return RequestError(400, "InvalidPath")
    if "redirect without LOCATION" in text:
        return RequestError(301, "PermanentRedirect")
    number = int(status[1]) if status else 0
    name = (code[1] or code[2]) if code else ""
    if not number and isinstance(error, FileNotFoundError):
        number = 404
    message = said[1] if said else "" if number else _tail(text, details)
    return RequestError(number, name, message)


def _tail(text: str, details: str) -> str:
    """Return the cause in a message without an answer: the innermost detail."""
    cause = _CAUSE.search(details)
    if cause is not None:
        return str(next(filter(None, cause.groups())))[:200]
    return text.rpartition(" - ")[2].replace("\n", " ")[:200]


def of_botocore(error: Exception) -> RequestError:
    """Return the fault of an error that botocore raised."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        told, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
        code = str(told.get("Code", ""))
        status = int(meta.get("HTTPStatusCode", 0))
        return RequestError(
            status, "" if code.isdigit() else code, str(told.get("Message", ""))[:300]
        )
    name = type(error).__name__
    if any(word in name for word in ("Credential", "Token", "SSO", "Profile", "Login")):
        return RequestError(400, "NoCredentials", str(error)[:300])
    said = str(error).partition("?")[0][:200]  # without the query of an address
    return RequestError(0, "", said + '"' * (said.count('"') % 2))
