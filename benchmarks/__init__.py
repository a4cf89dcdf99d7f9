"""The benchmark: pypimirror, its peers and reference programs do the same work, in turn.

`python -m benchmarks` compares them, `python -m benchmarks.scale` shows the cost of size. No time
here passes or fails; only the results of all contestants are checked to be complete and right. All
traffic goes to loopback.
"""
