"""An application of real projects (application.txt): what it names, and all that it needs."""

from __future__ import annotations

from tests.corpus.fetch import HERE


def own() -> list[str]:
    """The names of the projects that the application requires itself."""
    lines = (HERE / "application.txt").read_text().splitlines()
    return [line.partition("==")[0] for line in lines if line.endswith("# own")]


def pins() -> dict[str, str]:
    """All that it needs, on any platform: versions by normalised names."""
    lines = (HERE / "application.txt").read_text().splitlines()
    pairs = [line.split()[0].partition("==") for line in lines if not line.startswith("#")]
    return {name: version for name, _, version in pairs}
