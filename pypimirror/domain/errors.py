"""The base classes of this program's errors. It imports nothing, so that commands start fast."""


class PypimirrorError(Exception):
    """Base of every error that this program raises on purpose."""


class ConfigError(PypimirrorError):
    """The configuration is not valid. The message names the key and what is valid."""


class LockedError(PypimirrorError):
    """Another run holds the lock. The message explains it; `holder` is only the name of the run."""

    def __init__(self, message: str, holder: str = "another run") -> None:
        super().__init__(message)
        self.holder = holder


def refusal(
    holder: str, run: str, process: str, remedy: str = "wait for it to end, or stop it"
) -> tuple[str, str]:
    """Return the message and the holder for a `LockedError`."""
    known = f"{run}, {process}" if run else process
    return (
        f"{holder} ({known}) is working on this mirror; {remedy}",
        f"run {known}" if run else f"{holder} ({process})",
    )


class InstallerError(PypimirrorError):
    """A file of pip's configuration cannot be read; pip would not work with it either."""
