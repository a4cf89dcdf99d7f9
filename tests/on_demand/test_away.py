"""While the upstream is away, a server gives what it has, and its metrics tell so."""

from __future__ import annotations

from pathlib import Path

from tests.mirror import offer
from tests.on_demand.site import Got, on_demand, serving, until, wait_placed
from tests.simulator import Simulator

START = "pypimirror_on_demand_"


def test_a_metric_counts_the_old_pages_that_are_served_while_the_upstream_is_away(
    simulator: Simulator, tmp_path: Path
) -> None:
    """They are those that come with a warning."""
    (file,) = offer(simulator, "six", "1.0")
    mirror = on_demand(tmp_path, simulator, on_demand={"fresh": "0s"})
    warnings = []

    def page() -> Got:
        got = served.page("six")
        assert got.files() == [file.filename]
        if warning := got.headers.get("warning"):
            warnings.append(warning)
        assert served.metric(START + "stale_total") == len(warnings)
        return got

    def is_fresh() -> bool:
        return "warning" not in page().headers

    with serving(mirror) as served:
        until(lambda: served.get(file).status == 200)
        wait_placed(mirror, [file])
        until(is_fresh)
        failed = served.metric(START + "failed_total")
        with simulator.refusing():
            until(lambda: simulator.host in page().headers.get("warning", ""))
            assert not is_fresh()
            assert served.get(file).body == bytes(file.content)
            assert served.page("idna").is_honest_error
            assert served.metric(START + "stale_total") == len(warnings)  # neither was old
            assert served.metric(START + "failed_total") == failed + 1
        until(is_fresh)
