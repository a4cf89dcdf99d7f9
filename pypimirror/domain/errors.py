"""The roots of this program's own errors. Imports nothing: what starts fast needs it too."""


class PypimirrorError(Exception):
    """Base of every error that this program raises on purpose."""


class ConfigError(PypimirrorError):
    """The configuration cannot be used; the message names the key and what is right."""


class LockedError(PypimirrorError):
    """Another run holds the lock; the message says which one, `holder` only its name."""

    def __init__(self, message: str, holder: str = "another run") -> None:
        super().__init__(message)
        self.holder = holder


def refusal(
    holder: str, run: str, process: str, remedy: str = "wait for it to end, or stop it"
) -> tuple[str, str]:
    """Return message and holder of a `LockedError`."""
    known = f"{run}, {process}" if run else process
    return (
        f"{holder} ({known}) is working on this mirror; {remedy}",
        f"run {known}" if run else f"{holder} ({process})",
    )


class InstallerError(PypimirrorError):
    """A file of pip's configuration that cannot be read; pip would not work with it either."""
