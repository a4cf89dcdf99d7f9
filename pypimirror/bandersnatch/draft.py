"""Values that the translation of every option uses: source, new configuration, outcomes.

It knows no option by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from configparser import ConfigParser
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: A table of `pypimirror.toml`, by key.
Table = dict[str, Any]


class OptionOutcome(StrEnum):
    """What became of an option."""

    TAKEN = "taken over"
    NOT_NEEDED = "not needed"
    NOT_POSSIBLE = "not possible"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Translated:
    """One option of the source and what became of it."""

    section: str
    option: str
    outcome: OptionOutcome
    note: str  #: the new line; or why there is none, and what to do

    def __str__(self) -> str:
        return f"[{self.section}] {self.option}: {self.outcome}: {self.note}"


#: Outcome and note of one option.
OptionResult = tuple[OptionOutcome, str]


@dataclass(frozen=True)
class Option:
    """An option that bandersnatch 8 knows.

    `take` translates a value. Without `take`, the answer for every value is `outcome` and
    `meaning`. With `plugins`, the option counts only if one of them is enabled.
    """

    section: str
    name: str
    meaning: str
    take: Callable[[Draft, str], OptionResult] | None = None
    outcome: OptionOutcome = OptionOutcome.NOT_NEEDED
    plugins: tuple[str, ...] = ()


@dataclass
class Draft:
    """The configuration that is being built, and its source."""

    source: ConfigParser
    tables: dict[str, Table] = field(default_factory=dict)
    rules: list[Table] = field(default_factory=list)

    def text(self, section: str, option: str) -> str:
        """Return the value of an option; "" if it is not set."""
        return self.source.get(section, option, fallback="").strip()

    def lines(self, section: str, option: str) -> list[str]:
        """Return the values of an option with one value in each line, without comments."""
        values = self.text(section, option).splitlines()
        return [text for value in values if (text := f" {value}".split(" #")[0].strip())]

    def flag(self, section: str, option: str) -> bool:
        """Return the value of a switch; False if it is not set. Raises `ValueError`."""
        return bool(self.text(section, option)) and self.source.getboolean(section, option)

    def uses(self, *plugins: str) -> bool:
        """Whether one of these plug-ins is enabled."""
        enabled = self.lines("plugins", "enabled")
        return "all" in enabled or not set(plugins).isdisjoint(enabled)

    def set(self, table: str, key: str, value: Any) -> str:
        """Set a key; return its line, as `line` does."""
        self.tables.setdefault(table, {})[key] = value
        return self.line(table, key)

    def extend(self, table: str, key: str, values: Sequence[str]) -> str:
        """Add values to a list unless it has them; return its line, as `line` does."""
        known = self.tables.setdefault(table, {}).setdefault(key, [])
        known += [value for value in dict.fromkeys(values) if value not in known]
        return self.line(table, key)

    def rule(self, projects: Sequence[str], key: str, value: Any) -> str:
        """Add a rule for some projects; return it as one line."""
        self.rules.append({"projects": list(projects), key: value})
        return f"[[select.rules]] projects = {shown(list(projects))}, {key} = {toml(value)}"

    def line(self, table: str, key: str) -> str:
        """Return a key with its table and value, shortened if the value is long."""
        name = f"[[{table}]]" if table == "upstream" else f"[{table}]"
        return f"{name} {key} = {shown(self.tables[table][key])}"


def toml(value: Any) -> str:
    """Return a value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        texts = [toml(item) for item in value]
        short = f"[{', '.join(texts)}]"
        return short if len(short) < 80 else "".join(["[\n", *(f"    {t},\n" for t in texts), "]"])
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """Return a text as a string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def shown(value: Any) -> str:
    """Return a value in TOML, in one line, shortened if it is a long list."""
    if isinstance(value, list) and len(value) > 3:
        first = ", ".join(toml(item) for item in value[:3])
        return f"[{first}, and {len(value) - 3} more]"
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    return toml(value)
