"""Commands for an application that must be installable from the mirror: check, relock, init."""
