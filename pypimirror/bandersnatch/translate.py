"""Translates bandersnatch's configuration into `pypimirror.toml`, and reports on each option."""

from __future__ import annotations

import re
from configparser import ConfigParser
from configparser import Error as ParserError
from dataclasses import dataclass
from pathlib import Path

from pypimirror.bandersnatch import filters, mirror
from pypimirror.bandersnatch.draft import (
    Draft,
    Option,
    OptionOutcome,
    OptionResult,
    Translated,
    toml,
)
from pypimirror.bandersnatch.mirror import ONLY_DIRECTORIES
from pypimirror.config.settings import ConfigError
from pypimirror.system import texts

#: Every option that bandersnatch 8 knows by name.
OPTIONS = (*mirror.OPTIONS, *filters.OPTIONS)

_KNOWN = {(option.section, option.name): option for option in OPTIONS}
_SECTIONS = {option.section for option in OPTIONS} | set(filters.PATHS)
_ORDER = ("mirror", "upstream", "select", "download", "publish")

_HEAD = """\
# The configuration of a pypimirror mirror; every key is explained in docs/configuration.md.
# Translated from {source}. Its options became:
#
{options}
"""


@dataclass(frozen=True)
class Translation:
    """The result of a translation."""

    root: Path  #: the mirror root, absolute
    text: str  #: of `pypimirror.toml`
    options: tuple[Translated, ...]  #: each option of the source, in the order of the source


def translate(source: Path) -> Translation:
    """Translate bandersnatch's configuration; raises `ConfigError` if it cannot be used."""
    draft = Draft(_read(source))
    options = []
    try:
        for section in draft.source.sections():
            for option in draft.source.options(section):
                where = f"[{section}] {option}"
                options.append(Translated(section, option, *_answer(draft, section, option)))
    except (ValueError, re.error, ParserError) as error:  # those of packaging, too
        raise ConfigError(
            f"{source}: {where}: {error}; correct it there, then try again"
        ) from error
    root = mirror.mirror_root(draft)
    if root is None:
        raise ConfigError(
            f"{source}: [mirror] directory: the tree is in no directory; copy it to one, name that "
            "here, and set storage-backend = filesystem"
        )
    draft.set("mirror", "layout", "pypi")
    draft.tables.setdefault("upstream", {}).setdefault("name", "pypi")
    return Translation(root, _write(draft, source, options), tuple(options))


class _Parser(ConfigParser):
    """Reads as bandersnatch does: names of options are case-sensitive."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _read(source: Path) -> ConfigParser:
    parser = _Parser(delimiters="=")
    try:
        parser.read_string(texts.read(source), str(source))
    except texts.TextError as error:
        raise ConfigError(f"{source}: {error}") from error
    except ParserError as error:
        raise ConfigError(f"{source}: is no configuration of bandersnatch: {error}") from error
    return parser


def _answer(draft: Draft, section: str, name: str) -> OptionResult:
    value = draft.text(section, name)
    if option := _KNOWN.get((section, name)):
        return _answer_known(draft, option, value)
    if section in filters.PATHS:
        if not draft.uses(section):
            return OptionOutcome.NOT_NEEDED, f"its plug-in {section} is not enabled"
        return filters.PATHS[section][0](draft, name, value)
    if section == "s3":  # may have any option of the S3 client
        return OptionOutcome.NOT_POSSIBLE, ONLY_DIRECTORIES
    what = "option" if section in _SECTIONS else "section"
    return OptionOutcome.UNKNOWN, f"bandersnatch 8 does not know this {what} either"


def _answer_known(draft: Draft, option: Option, value: str) -> OptionResult:
    if option.plugins and not draft.uses(*option.plugins):
        return (
            OptionOutcome.NOT_NEEDED,
            f"no plug-in that reads it is enabled ({option.plugins[0]})",
        )
    if option.take is None:
        return option.outcome, option.meaning
    if not value:
        return OptionOutcome.NOT_NEEDED, "it is empty"
    return option.take(draft, value)


def _write(draft: Draft, source: Path, options: list[Translated]) -> str:
    lines = "\n".join(f"# {_one_line(str(option))}" for option in options)
    parts = [_HEAD.format(source=_one_line(str(source)), options=lines)]
    for name in _ORDER:
        if table := draft.tables.get(name):
            head = f"[[{name}]]" if name == "upstream" else f"[{name}]"
            parts.append("\n".join([head, *(f"{key} = {toml(v)}" for key, v in table.items())]))
        if name == "select":
            parts += [
                "\n".join(["[[select.rules]]", *(f"{key} = {toml(v)}" for key, v in rule.items())])
                for rule in draft.rules
            ]
    return "\n\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
