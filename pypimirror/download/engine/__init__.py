"""The engine: takes requests from the parent, and decides what is asked for next."""
