"""Files that clients have asked for: how runs select them, and how runs remove them."""
