"""The connection on which queries execute their statements."""

from __future__ import annotations

from sqlalchemy import Connection as Connection
