"""The four stages: each moves rows of the catalog from one state to the next.

`sequence` says in which order they run; `run` holds what they share. A stage reads its work from
the catalog and commits its results in bulk, so that it can be repeated at any time.
"""
