"""The benchmark: pypimirror, its peers and the limits of the machine at the same work, in turn.

`python -m benchmarks` compares, `python -m benchmarks.scale` shows what size costs. Nothing here
is timed for pass or fail; what is checked is that every contestant's result is complete and right.
All traffic goes to loopback.
"""
