"""The two client libraries, and the only place that imports them.

obstore does the most frequent requests: it puts, asks for and reads small objects. A request takes
a tenth of the CPU time of boto3, and other threads can run meanwhile. boto3 does the rest: it finds
credentials, lists, removes, and sends large objects in parts, because obstore knows no conditions
there. `docs/decisions/0071-two-clients-for-s3.md` has the figures.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from pypimirror.domain.errors import ConfigError
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.storage.s3.faults import BucketError, RequestError, of_botocore, of_obstore
from pypimirror.system import regular

#: How long credentials are used before the SDK is asked again. obstore asks when less than five
#: minutes are left. The SDK renews credentials at least ten minutes before their end, so they never
#: expire while they are used.
_FRESH = timedelta(minutes=6)


class Patience(Struct, frozen=True):
    """How long to repeat a request that the server did not answer, or could not serve."""

    tries: int = 7
    first: float = 0.2  #: seconds of the first pause; each further one is twice as long
    longest: float = 20  #: seconds of a pause, and a third of all pauses together
    timeout: float = 60  #: seconds without an answer


class Credentials:
    """Gives obstore the credentials that the AWS SDK finds. The SDK renews them."""

    def __init__(self, found: Any) -> None:
        self.found = found
        self.failed: Exception | None = None  #: why they could not be renewed

    def __call__(self) -> dict[str, Any]:
        """Return the present credentials."""
        try:
            now = self.found.get_frozen_credentials()
        except Exception as error:  # obstore hides it
            self.failed = error
            raise
        self.failed = None
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + _FRESH,
        }


class Clients:
    """Both clients for one bucket. They are made when they are first used."""

    def __init__(self, bucket: Bucket, patience: Patience | None = None) -> None:
        self.bucket = bucket
        self.patience = patience or Patience()
        self._lock = threading.Lock()
        self._made: tuple[Any, Any, Any] | None = None
        self._credentials: Credentials | None = None

    @property
    def obstore(self) -> Any:
        """The library itself."""
        return self._get()[0]

    @property
    def store(self) -> Any:
        """The store of obstore, for the bucket."""
        return self._get()[1]

    @property
    def found_by(self) -> str:
        """How the SDK has found the credentials, in its words, such as "env" or "iam-role"."""
        self._get()
        return str(getattr(self._credentials and self._credentials.found, "method", "unknown"))

    @property
    def boto(self) -> Any:
        """The client of boto3."""
        return self._get()[2]

    def _get(self) -> tuple[Any, Any, Any]:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> tuple[Any, Any, Any]:
        boto3, obstore = _libraries(self.bucket)
        bucket, patience = self.bucket, self.patience
        with self.faults():
            session = boto3.Session()
            region = bucket.region or session.region_name or "us-east-1"
            found = session.get_credentials()
            boto = _boto(session, bucket, region, patience)
        if found is None:
            raise BucketError(bucket.shown, *RequestError(400, "NoCredentials").explained("read"))
        self._credentials = Credentials(found)
        store = _store(bucket, region, patience, self._credentials)
        return obstore, store, boto

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn the errors of both libraries into `RequestError`."""
        try:
            yield
        except Exception as error:
            if type(error).__module__.startswith(("botocore", "boto3")):
                raise of_botocore(error) from error
            is_theirs = type(error).__module__.startswith("obstore")
            if is_theirs or (isinstance(error, FileNotFoundError) and error.errno is None):
                if self._credentials is not None and (cause := self._credentials.failed):
                    raise RequestError(400, "NoCredentials", str(cause)[:200]) from error
                raise of_obstore(error) from error
            raise


def _libraries(bucket: Bucket) -> tuple[Any, Any]:
    try:
        import boto3
        import obstore
    except ImportError as error:
        raise ConfigError(
            f"mirror.storage: {bucket.shown} needs {error.name or 'a library'}, which is not "
            "installed; install it with: pip install 'pypimirror[s3]'"
        ) from error
    return boto3, obstore


def _boto(session: Any, bucket: Bucket, region: str, patience: Patience) -> Any:
    from botocore.config import Config

    return session.client(
        "s3",
        region_name=region,
        endpoint_url=bucket.endpoint or None,
        config=Config(
            max_pool_connections=bucket.connections,
            connect_timeout=min(10, patience.timeout),
            read_timeout=patience.timeout,
            retries={"mode": "standard", "total_max_attempts": patience.tries},
            signature_version="s3v4",  # the older one, of signed addresses, is not known everywhere
            s3={"addressing_style": "virtual" if bucket.is_virtual else "path"},
            # Else checksums come in trailers, and some servers keep "aws-chunked" as the encoding.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _store(bucket: Bucket, region: str, patience: Patience, credentials: Credentials) -> Any:
    from obstore.store import S3Store

    config: dict[str, Any] = {"region": region, "checksum_algorithm": "SHA256"}
    config["virtual_hosted_style_request"] = bucket.is_virtual
    if bucket.endpoint:
        config["endpoint"] = _host_of(bucket)
    client: dict[str, Any] = {
        "allow_http": bucket.endpoint.startswith("http:"),
        "connect_timeout": timedelta(seconds=min(10, patience.timeout)),
        "timeout": timedelta(seconds=patience.timeout),
        "pool_max_idle_per_host": str(bucket.connections),
        "http1_only": True,
    }
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        client["root_certificate"] = regular.read_written(bundle)
    return S3Store(
        bucket.name,
        config=config,
        client_options=client,
        retry_config={
            "max_retries": patience.tries - 1,
            "retry_timeout": timedelta(seconds=3 * patience.longest),
            "backoff": {
                "init_backoff": timedelta(seconds=patience.first),
                "max_backoff": timedelta(seconds=patience.longest),
                "base": 2,
            },
        },
        credential_provider=credentials,
    )


def _host_of(bucket: Bucket) -> str:
    """Return the endpoint as obstore wants it: with the bucket, if requests name it in the host."""
    if not bucket.is_virtual:
        return bucket.endpoint
    parts = urlsplit(bucket.endpoint)
    return f"{parts.scheme}://{bucket.name}.{parts.netloc}"
