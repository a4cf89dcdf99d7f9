"""How thorough to be: a sample of steps; with the environment variable `THOROUGH`, all of them.

THOROUGH=500 python -m pytest tests/crash

CI takes a smaller sample (`STRIDE`), because it must end in time.
"""

from __future__ import annotations

import os

#: Random trials of each kind, and all combinations of steps and faults; 0: a sample.
THOROUGH = int(os.environ.get("THOROUGH", "0"))

#: Of so many steps one is tried.
FEW = 1 if THOROUGH else int(os.environ.get("STRIDE", "5"))

#: The same where two workers are at work: each step costs twice as much.
FEW_OF_TWO = 1 if THOROUGH else 3 * FEW
