"""What the simulated upstream of these tests offers: the corpus, and what clients decide on.

Every call gives the same index, so that each test process can have its own upstream beside the
one mirror that they share.
"""

from __future__ import annotations

from pathlib import Path

from tests.corpus.build import make_wheel
from tests.simulator import Simulator

YANKED = "colorama"  #: its newest release is yanked
YANK_REASON = 'wipes <b>the screen</b> & says "sorry"'
DEMANDING = "needs-the-future"  #: its newest release wants a Python that there is not
DATED = "packaging"  #: 24.2 was uploaded before the cutoff, 25.0 after it
CUTOFF_BEFORE = "packaging-25.0-py3-none-any.whl"


def load(simulator: Simulator, corpus: Path) -> Simulator:
    """Offer the corpus, one project yanked, one that demands; return the simulator."""
    simulator.add_directory(corpus)
    for file in simulator.project(YANKED).files:
        if "-0.4.6" in file.filename:
            file.yank(YANK_REASON)
    for version, python in (("1.0", ">=3.8"), ("2.0", ">=3.99")):
        name, content = make_wheel(DEMANDING, version, requires_python=python, requires=["six"])
        simulator.add_file(DEMANDING, name, content, requires_python=python, core_metadata=True)
    return simulator


def cutoff(simulator: Simulator) -> str:
    """The moment from which on files do not count: when packaging 25.0 came."""
    moment = simulator.file(CUTOFF_BEFORE).upload_time
    assert moment is not None
    return moment
