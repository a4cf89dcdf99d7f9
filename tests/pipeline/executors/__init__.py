"""Where the workers of a run are."""
