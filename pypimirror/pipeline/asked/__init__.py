"""Files that clients have asked for: how runs select them, and how they let go of them."""
