"""What a run knows and uses, and the values that its batches pass on."""
