"""The version of the renderer. Another version may render other bytes from the same input.

Every change of a rendered byte needs a new version. To make one, append a digest here; nothing else
must be done. The next syncs render the pages on disk again
(`pypimirror.pipeline.publish.outdated`). `tests/render/test_version.py` computes the digest and
prints the value to append. A released digest never changes.
"""

from __future__ import annotations

#: For each version: sha256 of everything that it renders from the test's inputs.
DIGESTS = ("6d1efd9bd8efa67539968022c28510ab8820f6a95a8b52c70e990c8301080e54",)

VERSION = len(DIGESTS)
