"""What a run knows and uses, and what its batches pass on: the first arguments of each stage."""
