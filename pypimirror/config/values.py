"""Convert values of TOML, JSON or a variable to the type of a key.

A `Fault` uses the words of the configuration. `pypimirror.config.model` knows sections and keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pypimirror.domain.checked import After, Before
from pypimirror.domain.sizes import ByteSize

Where = tuple[str | int, ...]


class Fault(NamedTuple):
    """One fault, and the key that has it."""

    where: Where
    message: str
    #: The known keys of the section, if the fault is an unknown key.
    known: tuple[str, ...] | None = None


class ValidationError(ValueError):
    """The faults of values. The message contains no value, because a value may be a secret."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


class SecretStr:
    """A text that is not shown by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._text

    def __str__(self) -> str:
        return "**********" if self._text else ""

    def __repr__(self) -> str:
        return f"SecretStr({str(self)!r})"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretStr) and self._text == other._text

    def __hash__(self) -> int:
        return hash((SecretStr, self._text))


_LIST = 'must be a list, such as ["six", "idna"]'
_TABLE = "must be a table, such as { license = ['MIT*'] }"
_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_BOOLEAN = "must be true or false"
_TEXT = "must be a text, in quotes"

_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({"0", "off", "f", "false", "n", "no"})
_INTEGER = re.compile(r"\s*[+-]?[0-9]+(_[0-9]+)*(\.0*)?\s*")


def convert(hint: Any, value: object, where: Where, beside: Mapping[str, Any]) -> Any:
    """Return a value as the type `hint`. Raises `ValidationError`.

    `beside` has the earlier keys of the same section, which are valid.
    """
    origin = get_origin(hint)
    if origin is Annotated:
        return _annotated(hint, value, where, beside)
    if origin in (Union, UnionType):
        (inner,) = (each for each in get_args(hint) if each is not type(None))
        return None if value is None else convert(inner, value, where, beside)
    if origin is tuple:
        return _tuple(get_args(hint)[0], value, where, beside)
    if origin is dict:
        return _table(get_args(hint)[1], value, where, beside)
    try:
        if origin is Literal:
            return _literal(get_args(hint), value)
        if (section := getattr(hint, "validated", None)) is not None:
            return section(value, where)
        return _PLAIN[hint](value)
    except ValidationError:
        raise
    except ValueError as error:
        raise ValidationError([Fault(where, str(error))]) from error


def check(function: Callable[[Any], Any], value: object, where: Where) -> Any:
    """Return the result of a check. Its `ValueError` becomes a `ValidationError`."""
    try:
        return function(value)
    except ValidationError:
        raise
    except ValueError as error:
        raise ValidationError([Fault(where, str(error))]) from error


def _annotated(hint: Any, value: object, where: Where, beside: Mapping[str, Any]) -> Any:
    inner, *checks = get_args(hint)
    for each in checks:
        if isinstance(each, Before):
            value = check(each.function, value, where)
    value = convert(inner, value, where, beside)
    for each in checks:
        if isinstance(each, After):
            function: Callable[..., Any] = each.function
            if each.beside:
                value = check(lambda found, call=function: call(found, beside), value, where)  # type: ignore[misc]
            else:
                value = check(function, value, where)
    return value


def _tuple(hint: Any, value: object, where: Where, beside: Mapping[str, Any]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        name = ".".join(map(str, where))
        several = f"there may be several, so write [[{name}]] in place of [{name}]"
        raise ValidationError([Fault(where, several if hasattr(hint, "validated") else _LIST)])
    return tuple(_each(enumerate(value), hint, where, beside).values())


def _table(hint: Any, value: object, where: Where, beside: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValidationError([Fault(where, _TABLE)])
    return _each(value.items(), hint, where, beside)


def _each(items: Any, hint: Any, where: Where, beside: Mapping[str, Any]) -> dict[Any, Any]:
    found, faults = {}, []
    for name, value in items:
        try:
            found[name] = convert(hint, value, (*where, name), beside)
        except ValidationError as error:
            faults += error.faults
    if faults:
        raise ValidationError(faults)
    return found


def _literal(known: tuple[object, ...], value: object) -> object:
    if not isinstance(value, str) or value not in known:
        *some, last = map(repr, known)
        raise ValueError(f"must be {', '.join(some)} or {last}" if some else f"must be {last}")
    return value


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower() if isinstance(value, str | int) else ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(_BOOLEAN)


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value.partition(".")[0])
    raise ValueError(_WHOLE)


def _number(value: object) -> float:
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise ValueError(_NUMBER)
    if isinstance(value, str) and not value.isascii():
        raise ValueError(_NUMBER)
    try:
        number = float(value)
    except ValueError:
        raise ValueError(_NUMBER) from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(_TEXT)
    return value


def _secret(value: object) -> SecretStr:
    return value if isinstance(value, SecretStr) else SecretStr(_text(value))


def _path(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError("must be a path, in quotes")
    return Path(value)


def _made(value: object) -> Any:
    """Return a value that a `Before` has parsed already."""
    return value


_PLAIN: dict[Any, Callable[[object], Any]] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _text,
    SecretStr: _secret,
    Path: _path,
    timedelta: _made,
    datetime: _made,
    ByteSize: _made,
}


def plain(value: Any) -> Any:
    """Return a value for JSON. Secrets are hidden."""
    if isinstance(value, SecretStr | Path):
        return str(value)
    if isinstance(value, timedelta):
        return _iso(value)
    if isinstance(value, ByteSize):
        return int(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _iso(value: timedelta) -> str:
    """Return a duration in ISO 8601, with years of 365 days, because digests depend on this
    form.
    """
    years, days = divmod(value.days, 365)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    rest = f"{seconds + value.microseconds / 1e6:g}"
    date = f"{years}Y" * bool(years) + f"{days}D" * bool(days)
    time = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes) + f"{rest}S" * (rest != "0")
    return f"P{date}" + (f"T{time}" if time or not date else "") + "0S" * (not date and not time)
