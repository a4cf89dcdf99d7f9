"""Preview: what a sync would do, and why each file is mirrored or not."""
