"""How the catalog stores the addresses of files: without the file name, if they end with it.

Most addresses do. In the largest index this saves a tenth of the catalog. A mark replaces the name:
a space, which no address contains (`upstream.checks.resolve` quotes it). Reading the column adds
the name again in every query (`mapping.types`); `shortened` removes it for writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MARK = " "


def shortened(row: Mapping[str, Any]) -> str:
    """Return the text to store for the address of a file. The row has its `url` and `filename`."""
    url, filename = row["url"], row["filename"]
    return f"{url.removesuffix(filename)}{MARK}" if url.endswith(f"/{filename}") else url
