"""The roots of this program's own errors. Imports nothing: what starts fast needs it too."""


class PypimirrorError(Exception):
    """Base of every error that this program raises on purpose."""


class ConfigError(PypimirrorError):
    """The configuration cannot be used; the message names the key and what is right."""
