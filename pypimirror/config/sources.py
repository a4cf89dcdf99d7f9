"""The sources of the configuration, for code that must not load all of it because that is slow.

`pypimirror.config.settings` reads the configuration and validates it.
"""

from __future__ import annotations

import hashlib
import os
import sys

from pypimirror import __version__
from pypimirror.render import version as renderer

#: The configuration file that is read if no other is named.
DEFAULT_FILE = "pypimirror.toml"

#: Prefix of the environment variables.
PREFIX = "PYPIMIRROR_"


def key(file: str | os.PathLike[str], content: bytes) -> str:
    """Return a digest of everything that a configuration is read from, and of the program.

    `content` is the content of `file`. Two configurations with the same key are equal.
    """
    variables = sorted(item for item in os.environ.items() if item[0].upper().startswith(PREFIX))
    program = (__version__, renderer.VERSION, sys.version, sys.prefix)
    text = repr((program, os.path.abspath(file), variables))  # noqa: PTH100 - pathlib is slow
    return hashlib.sha256(text.encode("utf-8", "surrogateescape") + b"\n" + content).hexdigest()
