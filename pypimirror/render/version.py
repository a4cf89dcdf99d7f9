"""Which version of the renderer this is: what it makes of one input, another one may not.

A change of any byte of a page is another version. It appends a digest here, and nothing else has
to be done: pages on disk are rendered again by the next syncs
(`pypimirror.pipeline.publish.outdated`). `tests/render/test_version.py` computes the digest, and
says what to append. A digest that was released stays as it is.
"""

from __future__ import annotations

#: sha256 of all that a version makes of the inputs of the test; the first digest is version 1's.
DIGESTS = ("6d1efd9bd8efa67539968022c28510ab8820f6a95a8b52c70e990c8301080e54",)

VERSION = len(DIGESTS)
