"""The environments to check for.

These are the requested environments, else those that `[select]` declares, else the running one. If
only a Python or only a platform is given, the other half comes from the next of these sources.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from packaging import tags
from packaging.markers import Marker, default_environment

from pypimirror.config.settings import ConfigError
from pypimirror.resolve import platforms as named
from pypimirror.resolve.platforms import LAST_PATCH
from pypimirror.resolve.uv import Environment
from pypimirror.select.environments import EnvironmentKeyError, Environments
from pypimirror.select.platforms import marker_facts


@dataclass(frozen=True)
class Target:
    """One environment: a Python on a platform."""

    python: str  #: such as "3.12"
    platform: str  #: a tag, as in `[select] platforms`
    is_running: bool = False  #: whether it is the environment of this process

    def __str__(self) -> str:
        return f"Python {self.python}, {self.platform}"

    @cached_property
    def environments(self) -> Environments:
        """The rules that decide on wheels and markers."""
        return Environments((self.python,), (self.platform, "any"))

    @cached_property
    def resolved_for(self) -> Environment | None:
        """The environment for uv's resolution; None if uv has no name for the platform."""
        return Environment() if self.is_running else named.named(self.python, self.platform)

    @cached_property
    def facts(self) -> Mapping[str, str]:
        """The values of marker variables, for the last patch release of this Python."""
        if self.is_running:
            return {key: str(value) for key, value in default_environment().items()}
        python = self.python.rstrip("t")
        full = f"{python}.{LAST_PATCH}"
        return {
            **next(marker_facts(self.platform)),
            "python_version": python,
            "python_full_version": full,
            "implementation_name": "cpython",
            "implementation_version": full,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_version": "",
        }

    def meets(self, marker: Marker | None, extra: str = "") -> bool:
        """Whether a marker is true if this extra is requested; "": none."""
        return marker is None or marker.evaluate({**self.facts, "extra": extra})


def chosen(
    pythons: Sequence[str],
    platforms: Sequence[str],
    declared_pythons: Sequence[str],
    declared_platforms: Sequence[str],
) -> tuple[Target, ...]:
    """Return the environments; raises `ConfigError` if one is not valid."""
    running = running_target()
    real = [each for each in declared_platforms if each != "any"]
    if not (pythons or platforms or declared_pythons or real):
        return (running,)
    pairs = product(
        pythons or declared_pythons or (running.python,),
        platforms or real or (running.platform,),
    )
    found = tuple(Target(python, platform) for python, platform in dict.fromkeys(pairs))
    try:
        for target in found:
            target.environments  # noqa: B018  (for its faults)
    except EnvironmentKeyError as error:
        raise ConfigError(f"--{error.key.removesuffix('s')}: {error.said}") from error
    return found


def running_target() -> Target:
    """Return the environment that this program runs in."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    threads = "t" if "t" in sys.abiflags else ""
    known = list(tags.platform_tags())
    # Linux accepts wheels for its libc, but its own tag does not name the libc.
    platform = next((each for each in known if not each.startswith("linux_")), known[0])
    return Target(version + threads, platform, is_running=True)
