"""The pipeline: each of the four stages moves rows of the catalog from one state to the next.

`sequence` decides in which order they run, and `run` holds what they share. A stage reads its work
from the catalog and commits its results in bulk, so it can be repeated at any time.
"""
