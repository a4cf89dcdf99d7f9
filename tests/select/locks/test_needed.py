"""What environments need of a lock: the same as if one walks through it, one after the other."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker

from pypimirror.domain.model import ProjectName
from pypimirror.select.locks.lock import Lock, LockedRelease, Need

NAMES = [ProjectName(name) for name in "abcdef"]
SYSTEMS = ["linux", "win32", "darwin"]
MARKERS = [None, *(Marker(f'sys_platform == "{system}"') for system in SYSTEMS)]
VERSIONS = ["1", "2"]

needs = st.builds(
    Need, st.sampled_from(NAMES), st.sampled_from([None, *VERSIONS]), st.sampled_from(MARKERS)
)
releases = st.builds(
    LockedRelease,
    st.sampled_from(NAMES),
    st.sampled_from(VERSIONS),
    st.just(()),
    st.just(""),
    st.sampled_from(MARKERS),
    st.lists(needs, max_size=4).map(tuple),
)
locks = st.builds(
    Lock,
    st.just(Path("uv.lock")),
    st.just("uv.lock"),
    st.lists(releases, max_size=8, unique_by=lambda each: (each.project, each.version)).map(tuple),
    st.just(()),
    st.lists(needs, max_size=3).map(tuple),
)


def walk(lock: Lock, system: str) -> set[tuple[str, str | None]]:
    """What is needed in one environment, by walking until nothing more comes."""

    def holds(marker: Marker | None) -> bool:
        return marker is None or str(marker) == f'sys_platform == "{system}"'

    found: set[tuple[str, str | None]] = set()
    while True:
        asked = [*(lock.roots or ())]
        asked += [n for r in lock.releases if (r.project, r.version) in found for n in r.needs]
        new = {
            (release.project, release.version)
            for release in lock.releases
            for need in asked
            if need.project == release.project
            and need.version in (None, release.version)
            and holds(need.marker)
            and holds(release.marker)
        }
        if new <= found:
            return found
        found |= new


@given(lock=locks)
def test_all_environments_at_once_need_what_each_needs(lock: Lock) -> None:
    environments = [lambda m, s=system: m.evaluate({"sys_platform": s}) for system in SYSTEMS]
    found = {(release.project, release.version) for release in lock.needed_by(environments)}
    assert found == set().union(*(walk(lock, system) for system in SYSTEMS))
    for system, meets in zip(SYSTEMS, environments, strict=True):
        needed = {(release.project, release.version) for release in lock.needed(meets)}
        assert needed == walk(lock, system)
