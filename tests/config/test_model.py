"""Sections are strict: a value has its type and is within its bounds; a fault names its key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.environment import overlaid
from pypimirror.config.model import Field, Model, field_validator, model_validator
from pypimirror.config.settings import Config
from pypimirror.config.values import Fault, SecretStr, ValidationError
from pypimirror.domain.durations import Duration
from pypimirror.domain.errors import ConfigError
from pypimirror.domain.sizes import Size


class Inner(Model):
    """A section inside of another."""

    text: str = Field(min_length=1)


class Outer(Model):
    """A section with a key of each type."""

    flag: bool = False
    number: int = Field(1, ge=0, le=9)
    share: float = Field(0.5, gt=0)
    size: Size | None = None
    time: Duration = timedelta(1)
    path: Path = Path("x")
    secret: SecretStr = SecretStr("")
    texts: tuple[str, ...] = ()
    table: dict[str, tuple[str, ...]] = Field({})
    inner: tuple[Inner, ...] = ()

    @field_validator("texts")
    @classmethod
    def _are_sorted(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(texts))

    @model_validator(mode="after")
    def _is_consistent(self) -> Outer:
        if self.flag and not self.number:
            raise ValueError("number: must not be 0 with flag")
        return self


def faults(**values: Any) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    return caught.value.faults


@pytest.mark.parametrize(
    ("key", "given", "wanted"),
    [
        ("flag", "yes", True),
        ("flag", "FALSE", False),
        ("flag", 1, True),
        ("number", " 7 ", 7),
        ("number", 3.0, 3),
        ("number", "0_3", 3),
        ("share", 2, 2.0),
        ("share", "1e-3", 0.001),
        ("size", None, None),
        ("size", "1.5 kib", 1536),
        ("size", 1e3, 1000),
        ("size", "2 g", 2 * 10**9),
        ("texts", ["b", "a"], ("a", "b")),
        ("table", {"x": ["y"]}, {"x": ("y",)}),
        ("inner", [{"text": "t"}], (Inner(text="t"),)),
    ],
)
def test_a_value_gets_the_type_of_its_key(key: str, given: object, wanted: object) -> None:
    found = getattr(Outer.model_validate({key: given}), key)
    assert found == wanted
    assert type(found) is type(wanted) or key == "size"


@pytest.mark.parametrize(
    ("key", "given", "where", "said"),
    [
        ("flag", 2, ("flag",), "must be true or false"),
        ("flag", "", ("flag",), "must be true or false"),
        ("number", True, ("number",), "must be a whole number"),
        ("number", 1.5, ("number",), "must be a whole number"),
        ("number", "", ("number",), "must be a whole number"),
        ("number", 10, ("number",), "must be less than or equal to 9"),
        ("number", -1, ("number",), "must be greater than or equal to 0"),
        ("share", 0, ("share",), "must be greater than 0"),
        ("share", "nan", ("share",), "must be a finite number"),
        ("share", "\N{FULLWIDTH DIGIT ONE}", ("share",), "must be a number"),
        ("size", 1.5, ("size",), "must be a size"),
        ("share", 10**400, ("share",), "must be a finite number"),
        ("size", True, ("size",), "must be a size"),
        ("size", "5 iB", ("size",), "must be a size"),
        ("time", None, ("time",), "must be a number with one of"),
        ("path", 3, ("path",), "must be a path"),
        ("secret", 3, ("secret",), "must be a text"),
        ("texts", ["a", 3], ("texts", 1), "must be a text"),
        ("table", {"x": 3}, ("table", "x"), "must be a list"),
        ("inner", {"text": "t"}, ("inner",), "there may be several, so write [[inner]]"),
        ("inner", [{"text": ""}], ("inner", 0, "text"), "must not be empty"),
        ("inner", [{}], ("inner", 0, "text"), "is needed"),
        ("inner", [3], ("inner", 0), "must be a section of keys"),
        ("inner", [{"text": "t", "more": 1}], ("inner", 0, "more"), "unknown key"),
    ],
)
def test_a_fault_names_its_key_and_what_is_right(
    key: str, given: object, where: tuple[str | int, ...], said: str
) -> None:
    (fault,) = faults(**{key: given})
    assert fault.where == where
    assert fault.message.startswith(said)


def test_all_faults_are_found_and_a_section_is_checked_as_a_whole_after_its_keys() -> None:
    assert [f.where for f in faults(number=True, flag=3, other=1)] == [
        ("flag",),
        ("number",),
        ("other",),
    ]
    assert faults(flag=True, number=0) == [Fault((), "number: must not be 0 with flag")]


def test_a_section_does_not_change_and_its_copies_know_what_was_given() -> None:
    one = Outer.model_validate({"number": 3})
    with pytest.raises(AttributeError):
        one.number = 4
    other = one.model_copy(update={"flag": True})
    assert (one.flag, other.flag, other.number) == (False, True, 3)
    assert other.model_fields_set == {"number", "flag"}
    assert one == Outer.model_validate({"number": "3"}) != other
    assert Outer.model_validate(dict(one)) == one  # what is right stays right


def test_a_section_is_written_as_json_has_it() -> None:
    section = Outer.model_validate({"secret": "s3cret", "time": "90m", "inner": [{"text": "t"}]})
    written = section.model_dump(mode="json")
    assert (written["secret"], written["time"], written["path"]) == ("**********", "PT1H30M", "x")
    assert written["inner"] == [{"text": "t"}]
    assert type(Outer(size="1 KB").model_dump(mode="json")["size"]) is int
    assert "s3cret" not in repr(section)
    assert [Outer(time=t).model_dump(mode="json")["time"] for t in ("0s", "400d", "36h")] == [
        "PT0S",
        "P1Y35D",
        "P1DT12H",
    ]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31).date(), datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_date_is_the_start_of_its_day(value: object, wanted: datetime) -> None:
    config = Config.model_validate({"select": {"uploaded_after": value}})
    assert config.select.uploaded_after == wanted


@pytest.mark.parametrize("value", ["yesterday", 7, True, ""])
def test_a_date_that_is_none_is_a_fault(value: object) -> None:
    with pytest.raises(ValidationError, match="must be a date"):
        Config.model_validate({"select": {"uploaded_after": value}})


def test_variables_win_key_by_key_and_a_key_wins_over_a_whole_section() -> None:
    environment = {
        "PYPIMIRROR_SELECT": '{"files": ["a"], "latest": 1}',
        "PYPIMIRROR_SELECT__LATEST": "2",
        "PYPIMIRROR_SELECT__METADATA__LICENSE": '["MIT*"]',
        "pypimirror_mirror__directory": "[1]",  # a text, whatever it looks like
        "OTHER_SELECT__LATEST": "3",
        "PYPIMIRROR_UPSTREAM": "null",
    }
    values = {"select": {"files": ["b"], "projects": ["six"]}, "up": {"port": 1}}
    assert overlaid(values, Config, environment) == {
        "select": {
            "files": ["a"],
            "projects": ["six"],
            "latest": "2",
            "metadata": {"license": ["MIT*"]},
        },
        "mirror": {"directory": "[1]"},
        "up": {"port": 1},
    }


def test_a_variable_that_must_be_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPIMIRROR_SELECT__FILES", "a")
    with pytest.raises(ConfigError, match="PYPIMIRROR_SELECT__FILES: must be JSON"):
        overlaid({}, Config, {"PYPIMIRROR_SELECT__FILES": "a"})
