"""What a person probably meant by a command line that a command does not take."""

from __future__ import annotations

import re

#: By command: what it takes instead, and the nearest right command. `{0}` is the first wrong word.
_INSTEAD = {
    "verify": "It checks the whole mirror. Each file of one project, with its proof: "
    "'pypimirror status {0}'.",
    "runs": "Explain one run: 'pypimirror runs show {0}'. List more runs: "
    "'pypimirror runs --limit 50'.",
    "quarantine": "List what is there: 'pypimirror quarantine'. Say why a file is there: "
    "'pypimirror quarantine explain FILE'. Further commands are release and clear.",
    "doctor": "It checks the machine and the configuration. Say why a project is here or not: "
    "'pypimirror explain {0}'.",
    "serve": "Set address and port by options: 'pypimirror serve --host 0.0.0.0 --port 8080'.",
    "up": "Set address and port by options: 'pypimirror up --host 0.0.0.0 --port 8080'.",
}
#: How typer, with its own click or another one, names the first word that is too much.
_WORD = re.compile(r"extra argument\S* \((\S+?)[ )]|No such command '([^']+)'")
#: An option of every command, before the command.
_EARLY = re.compile(r"No such option: (--config|--json|--verbose|--quiet|-[vq]+)\b")
_LATER = "Options come after the command: 'pypimirror status --json'."
#: A word that may stand in a command without quotes.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def instead(command: str, message: str) -> str:
    """Return the next step after `message`, the error of wrong use of a command; "": none is known.

    `command` is "" before any command. Only for a word too many, and for an option before the
    command: what typer says of other options is enough.
    """
    if not command:
        return _LATER if _EARLY.search(message) else ""
    told = _INSTEAD.get(command, "")
    said = _WORD.search(message)
    if not told or said is None:
        return ""
    word = said[1] or said[2]
    return told.format(word if _PLAIN.fullmatch(word) else "NAME")
