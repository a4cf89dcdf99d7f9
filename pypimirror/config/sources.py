"""Where the configuration comes from, for those who must not read all of it, as that is slow.

`pypimirror.config.settings` reads it and says what it means.
"""

from __future__ import annotations

import hashlib
import os
import sys

from pypimirror import __version__
from pypimirror.render import version as renderer

#: Where the configuration is looked for when none is named.
DEFAULT_FILE = "pypimirror.toml"

#: What a variable's name in the environment begins with.
PREFIX = "PYPIMIRROR_"


def key(file: str | os.PathLike[str], content: bytes) -> str:
    """Identify what a configuration is read from, and by which program.

    `content` is that of `file`. What is read by the same key means the same.
    """
    variables = sorted(item for item in os.environ.items() if item[0].upper().startswith(PREFIX))
    program = (__version__, renderer.VERSION, sys.version, sys.prefix)
    told = repr((program, os.path.abspath(file), variables))  # noqa: PTH100 - pathlib is slow
    return hashlib.sha256(told.encode("utf-8", "surrogateescape") + b"\n" + content).hexdigest()
