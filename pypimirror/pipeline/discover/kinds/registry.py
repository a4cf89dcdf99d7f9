"""Which kinds there are, by the word in `[[upstream]] kind`."""

from __future__ import annotations

from pypimirror.config.sections import UpstreamSection
from pypimirror.pipeline.discover.kinds.kind import UpstreamKind
from pypimirror.pipeline.discover.kinds.link_page import LinkPageKind
from pypimirror.pipeline.discover.kinds.simple import SimpleKind

KINDS: dict[str, UpstreamKind] = {"simple": SimpleKind(), "links": LinkPageKind()}


def kind_of(upstream: UpstreamSection) -> UpstreamKind:
    """Return how an upstream is asked."""
    return KINDS[upstream.kind]
