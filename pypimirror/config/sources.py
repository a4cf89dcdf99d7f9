"""Names of the sources of the configuration. `pypimirror.config.settings` reads them."""

from __future__ import annotations

#: The configuration file that is read if no other is named.
DEFAULT_FILE = "pypimirror.toml"

#: Prefix of the environment variables.
PREFIX = "PYPIMIRROR_"
