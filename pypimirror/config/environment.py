"""Configuration in the environment: `PYPIMIRROR_<SECTION>__<KEY>`, and whole sections as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pypimirror.config import faults
from pypimirror.config.model import Model
from pypimirror.config.sources import PREFIX
from pypimirror.domain.errors import ConfigError


def overlaid(
    values: Mapping[str, Any], model: type[Model], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Return `values` overridden by the environment. Raises `ConfigError`."""
    found: dict[str, Any] = {}
    names = {n.lower(): n for n in sorted(environment) if n.upper().startswith(PREFIX)}
    # A whole section comes before its keys, which win.
    for lower in sorted(names, key=lambda name: name.count("__")):
        path = lower[len(PREFIX) :].split("__")
        if path[0] in model.model_fields:
            value = _value(model, path, environment[names[lower]], path[0])
            if value is not None or len(path) > 1:  # null instead of a section says nothing
                _put(found, path, value)
    return _merged(values, found)


def _value(model: type[Model], path: list[str], text: str, section: str) -> Any:
    """Return the value of a variable: text, or parsed JSON if the key needs a list or a table."""
    inner: Any = model
    for name in path:
        if is_section(inner) and name in inner.model_fields:
            inner = inner.model_fields[name].annotation
        else:
            inner = get_args(inner)[1] if get_origin(inner) is dict else None
        while get_origin(inner) is not None and hasattr(inner, "__metadata__"):
            inner = get_args(inner)[0]
    if not is_section(inner) and get_origin(inner) not in (tuple, dict):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(faults.not_json(section)) from error


def is_section(hint: Any) -> bool:
    """Whether a type is a section."""
    return isinstance(hint, type) and issubclass(hint, Model)


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = values.get(name)
        values = values.setdefault(name, {}) if isinstance(inner, dict) else _new(values, name)
    values[path[-1]] = value


def _new(values: dict[str, Any], name: str) -> dict[str, Any]:
    values[name] = {}
    return values[name]  # type: ignore[no-any-return]


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        inner = merged.get(name)
        both = isinstance(inner, dict) and isinstance(value, dict)
        merged[name] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged
