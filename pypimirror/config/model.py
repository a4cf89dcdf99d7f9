"""Sections of the configuration as classes: keys, defaults, limits, checks.

A subclass of `Model` is a section. To add a key, add one annotated attribute:

    port: int = Field(8080, ge=0, le=65535, description="The port; 0 for any free one.")

The names are those of pydantic, because they are well known. pydantic itself builds a validator for
each key at each start. For a run without work, that would take longer than all its work. Here a key
that is not in the file costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Self, get_type_hints

from pypimirror.config.values import Fault, ValidationError, Where, check, convert, plain

_MISSING: Any = object()


class Key:
    """One key of a section."""

    def __init__(
        self,
        default: Any = _MISSING,
        *,
        default_factory: Callable[[], Any] | None = None,
        description: str = "",
        ge: float | None = None,
        gt: float | None = None,
        le: float | None = None,
        min_length: int | None = None,
        pattern: tuple[str, str] | None = None,
    ) -> None:
        self._default, self._factory = default, default_factory
        self.description = description
        self.bounds = {"ge": ge, "gt": gt, "le": le}
        self._min_length, self._pattern = min_length, pattern
        self._owner: type[Model] | None = None
        self._name = ""

    def belongs_to(self, owner: type[Model], name: str) -> None:
        """Set the section and the name of the key."""
        self._owner, self._name = owner, name

    @property
    def annotation(self) -> Any:
        """The type of the key."""
        assert self._owner is not None
        return hints_of(self._owner)[self._name]

    @property
    def is_required(self) -> bool:
        """Whether the key has no default."""
        return self._default is _MISSING and self._factory is None

    @property
    def default(self) -> Any:
        """The value of a key that is not set."""
        return self._factory() if self._factory is not None else self._default

    def checked(self, value: Any) -> Any:
        """Return a value that is within the limits. Raise `ValueError` if it is not."""
        for name, words, is_within in _BOUNDS:
            bound = self.bounds[name]
            if bound is not None and not is_within(value, bound):
                raise ValueError(f"must be {words} {bound}")
        if self._min_length is not None and len(value) < self._min_length:
            raise ValueError("must not be empty")
        if self._pattern is not None:
            import re

            if not re.fullmatch(self._pattern[0], value):
                raise ValueError(self._pattern[1])
        return value


_BOUNDS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("ge", "greater than or equal to", lambda value, bound: value >= bound),
    ("gt", "greater than", lambda value, bound: value > bound),
    ("le", "less than or equal to", lambda value, bound: value <= bound),
)


def Field(default: Any = _MISSING, **known: Any) -> Any:  # noqa: N802 - as in pydantic
    """Return a key with these arguments of `Key`, for an attribute of a section."""
    return Key(default, **known)


Mode = Literal["before", "after"]


def field_validator(*names: str, mode: Mode = "after") -> Callable[[Any], Any]:
    """Register a class method that checks these keys, before or after their values have their
    type.
    """
    return _marked(names, mode)


def model_validator(*, mode: Mode) -> Callable[[Any], Any]:
    """Register a method that checks a whole section: a class method its values, a method the
    instance.
    """
    return _marked((), mode)


def _marked(names: tuple[str, ...], mode: Mode) -> Callable[[Any], Any]:
    def mark(method: Any) -> Any:
        getattr(method, "__func__", method).checks = (names, mode)
        return method

    return mark


def hints_of(model: type[Model]) -> dict[str, Any]:
    """Return the type of each key of a section. Types are resolved when they are first needed."""
    found: dict[str, Any] | None = vars(model).get("_hints")
    if found is None:
        found = get_type_hints(model, include_extras=True)
        model._hints = found
    return found


class Model:
    """A section. It is immutable, and an unknown key is an error."""

    model_fields: ClassVar[dict[str, Key]] = {}
    _checks: ClassVar[list[tuple[str, tuple[str, ...], Mode]]] = []
    _hints: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        cls.model_fields, cls._checks = {}, []
        for base in reversed(cls.__mro__[1:]):
            cls.model_fields |= vars(base).get("model_fields", {})
            cls._checks += [c for c in vars(base).get("_checks", ()) if c not in cls._checks]
        for name in vars(cls).get("__annotations__", ()):
            if name.startswith("_") or name == "model_fields":
                continue
            key = vars(cls).get(name, _MISSING)
            key = key if isinstance(key, Key) else Key(key)
            key.belongs_to(cls, name)
            cls.model_fields[name] = key
            if name in vars(cls):
                delattr(cls, name)
        for name, method in vars(cls).items():
            marks = getattr(getattr(method, "__func__", method), "checks", None)
            if marks is not None:
                cls._checks.append((name, *marks))

    def __init__(self, **values: Any) -> None:
        vars(self).update(vars(type(self).validated(values, ())))

    @classmethod
    def validated(cls, values: object, where: Where) -> Self:
        """Return a section with these values. `where` is its place in the configuration.

        Raises `ValidationError` with all faults.
        """
        if isinstance(values, cls):
            return values
        for name, names, mode in reversed(cls._checks):
            if mode == "before" and not names:
                values = check(getattr(cls, name), values, where)
        if not isinstance(values, Mapping):
            raise ValidationError([Fault(where, "must be a section of keys")])
        found, faults = cls._converted(values, where)
        if faults:
            raise ValidationError(faults)
        self = cls.model_construct(**found)
        for name, names, mode in cls._checks:
            if mode == "after" and not names:
                self = check(getattr(cls, name), self, where)
        return self

    @classmethod
    def _converted(
        cls, values: Mapping[str, Any], where: Where
    ) -> tuple[dict[str, Any], list[Fault]]:
        found: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, key in cls.model_fields.items():
            if name not in values:
                if key.is_required:
                    faults.append(Fault((*where, name), "is needed"))
                continue
            try:
                found[name] = cls._value(name, values[name], (*where, name), found)
            except ValidationError as error:
                faults += error.faults
        known = tuple(sorted(cls.model_fields))
        faults += [
            Fault((*where, name), "unknown key", known)
            for name in values
            if name not in cls.model_fields
        ]
        return found, faults

    @classmethod
    def _value(cls, name: str, value: Any, where: Where, beside: Mapping[str, Any]) -> Any:
        checks = [(getattr(cls, c), mode) for c, names, mode in cls._checks if name in names]
        for method, mode in checks:
            if mode == "before":
                value = check(method, value, where)
        value = convert(hints_of(cls)[name], value, where, beside)
        if value is not None:
            value = check(cls.model_fields[name].checked, value, where)
        for method, mode in checks:
            if mode == "after":
                value = check(method, value, where)
        return value

    @classmethod
    def model_validate(cls, values: object) -> Self:
        """Return a section with these values. Raises `ValidationError`."""
        return cls.validated(values, ())

    @classmethod
    def model_construct(cls, **values: Any) -> Self:
        """Return a section with values that are known to be valid."""
        self = object.__new__(cls)
        rest = {n: key.default for n, key in cls.model_fields.items() if n not in values}
        vars(self).update(values | rest, _given=frozenset(values))
        return self

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return a section with other values for some keys. They are not checked."""
        other = object.__new__(type(self))
        vars(other).update({**vars(self), **update}, _given=self.model_fields_set | update.keys())
        return other

    def model_dump(self, *, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Return the keys and their values as a dictionary; with `mode` "json", as JSON values."""
        found = {name: _dumped(value, mode) for name, value in self}
        return plain(found) if mode == "json" else found

    @property
    def model_fields_set(self) -> frozenset[str]:
        """The keys that were set."""
        given: frozenset[str] = vars(self)["_given"]
        return given

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((name, vars(self)[name]) for name in self.model_fields)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"{name}: a configuration does not change")
        vars(self)[name] = value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and dict(self) == dict(other)

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self)})"


def _dumped(value: Any, mode: Literal["python", "json"]) -> Any:
    if isinstance(value, Model):
        return value.model_dump(mode=mode)
    if isinstance(value, tuple):
        return tuple(_dumped(each, mode) for each in value)
    return value
