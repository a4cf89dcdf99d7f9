"""TLS to upstreams on gevent's sockets, and messages for what can go wrong.

`pypimirror.download.http.authorities` decides which CA certificates are trusted.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from gevent.ssl import SSLContext, create_default_context

from pypimirror.domain.model import Reason
from pypimirror.download.failure import Again, FetchError
from pypimirror.download.http.authorities import authorities, named_by, trusted

_CLOCK = "check this machine's clock, or have the upstream's operators renew it."

#: What to do about a refused certificate, by OpenSSL's number of the reason.
_REMEDIES = {
    9: f"It is not valid yet: {_CLOCK}",
    10: _CLOCK.capitalize(),
    62: "Use a name that the certificate is for in the upstream's `url`.",
    64: "Use a name that the certificate is for in the upstream's `url`.",
}
_UNKNOWN = (
    "If its authority is your own, name its certificate as `ca_file` of the [[upstream]] or of "
    "[download], or in REQUESTS_CA_BUNDLE or SSL_CERT_FILE."
)

#: What a failed handshake means, by a part of OpenSSL's name of the error.
_HANDSHAKES = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS at this port; is the address one of http?",
    "RECORD_LAYER_FAILURE": "it does not speak TLS at this port; is the address one of http?",
    "PROTOCOL": "it speaks no TLS from 1.2 on; have its operators update it",
    "CERTIFICATE_REQUIRED": "it wants a certificate of this machine, which cannot be given",
}


def make_tls_context(ca_file: str = "") -> SSLContext:
    """Return a context that verifies certificates and names, with the authorities of `ca_file`.

    `authorities` chooses others if `ca_file` is empty. Raises `FetchError` (CONNECTION) if they
    cannot be read.
    """
    trust = authorities(ca_file)
    try:
        preset = os.environ.get("SSL_CERT_FILE")
        if trust is None and preset and not Path(preset).exists():
            raise FileNotFoundError(2, os.strerror(2))
        context = create_default_context(**trusted(trust))
    except OSError as error:  # an ssl.SSLError is one, too
        raise FetchError(
            Reason.CONNECTION,
            f"The certificates of trusted authorities in {trust or preset}, which "
            f"{named_by(ca_file)} names, cannot be read: {_cause(error)}. Name a file in PEM.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without this, some builds of Python, such as Debian's, take a cut connection for an end.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_alpn_protocols(["http/1.1"])
    return context


def untrusted(host: object, error: ssl.SSLCertVerificationError) -> FetchError:
    """Return the failure for a certificate that is not trusted."""
    why = error.verify_message.rstrip(".")
    return FetchError(
        Reason.CONNECTION,
        f"{host} has a certificate that is not trusted: {why}. "
        f"{_REMEDIES.get(error.verify_code, _UNKNOWN)}",
    )


def no_handshake(host: object, error: ssl.SSLError) -> FetchError:
    """Return the failure for a connection on which TLS could not begin."""
    name = error.reason or ""
    said = next((said for part, said in _HANDSHAKES.items() if part in name), _cause(error))
    return FetchError(Reason.CONNECTION, f"No TLS with {host}: {said}.", again=Again.ALWAYS)


def _cause(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no TLS").replace("_", " ").lower()
    return error.strerror or str(error) or type(error).__name__
