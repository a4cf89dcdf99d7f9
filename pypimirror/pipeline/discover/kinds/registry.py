"""The registry of upstream kinds, by the value of `kind` in `[[upstream]]`."""

from __future__ import annotations

from pypimirror.config.sections import UpstreamSection
from pypimirror.pipeline.discover.kinds.kind import UpstreamKind
from pypimirror.pipeline.discover.kinds.link_page import LinkPageKind
from pypimirror.pipeline.discover.kinds.simple import SimpleKind

KINDS: dict[str, UpstreamKind] = {"simple": SimpleKind(), "links": LinkPageKind()}


def kind_of(upstream: UpstreamSection) -> UpstreamKind:
    """Return the implementation for an upstream's kind."""
    return KINDS[upstream.kind]
