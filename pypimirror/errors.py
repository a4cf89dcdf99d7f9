"""The root of this program's own errors. Imports nothing: what starts fast needs it too."""


class PypimirrorError(Exception):
    """Base of every error that this program raises on purpose."""
