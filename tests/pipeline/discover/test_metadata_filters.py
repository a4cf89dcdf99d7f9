"""Filters on core metadata: read only where asked for, once, and never from a broken line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pypimirror.config.settings import ConfigError
from pypimirror.pipeline.preview.explain import explain
from tests.corpus.build import make_sdist, make_wheel
from tests.mirror import Mirror, reasons
from tests.simulator import IndexFile, Reset, Simulator

MIT, GPL = "License :: OSI Approved :: MIT License", "License :: OSI Approved :: GPLv3"


def offer(simulator: Simulator, version: str, *lines: str, **said: Any) -> IndexFile:
    said = {"core_metadata": True, **said}
    return simulator.add_file("six", *make_wheel("six", version, lines=lines), **said)


@pytest.fixture
def mit(simulator: Simulator) -> IndexFile:
    return offer(simulator, "1.0", f"Classifier: {MIT}", "License-Expression: MIT")


@pytest.fixture
def gpl(simulator: Simulator) -> IndexFile:
    return offer(simulator, "2.0", f"Classifier: {GPL}", "License: GNU GPL")


def select(mirror: Mirror, **keys: Any) -> None:
    """Set keys of `[select]` that are tables."""
    mirror.sections.pop("select", None)
    mirror.configure()
    lines = ["[select]"]
    for key, fields in keys.items():
        inner = ", ".join(f"{name} = {json.dumps(texts)}" for name, texts in fields.items())
        lines.append(f"{key} = {{ {inner} }}")
    mirror.file.write_text(mirror.file.read_text() + "\n".join(lines) + "\n")


def metadata_requests(simulator: Simulator) -> int:
    return simulator.count("*.metadata")


def test_without_such_a_filter_no_core_metadata_is_asked_for(
    mirror: Mirror, simulator: Simulator, mit: IndexFile
) -> None:
    mirror.sync()
    assert metadata_requests(simulator) == 0


@pytest.mark.parametrize(
    "keys",
    [
        {"metadata": {"classifier": ["* :: MIT License"]}},
        {"metadata": {"License": ["MIT"]}},
        {"exclude_metadata": {"license": ["/GPL/"]}},
        {"metadata": {"classifier": ["License :: *"]}, "exclude_metadata": {"license": ["GNU*"]}},
    ],
    ids=str,
)
def test_releases_are_chosen_by_their_core_metadata_both_ways(
    mirror: Mirror, mit: IndexFile, gpl: IndexFile, keys: dict[str, Any]
) -> None:
    mirror.sync()
    select(mirror, **keys)
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [mit.filename]
    select(mirror)
    mirror.sync()
    assert mirror.files("six") == [mit.filename, gpl.filename]


def test_an_sdist_goes_by_a_wheel_of_its_release_and_without_one_is_unknown(
    mirror: Mirror, simulator: Simulator, mit: IndexFile
) -> None:
    beside = simulator.add_file("six", *make_sdist("six", "1.0"))
    alone = simulator.add_file("six", *make_sdist("six", "3.0"))
    select(mirror, metadata={"license": ["MIT"]})
    mirror.sync()
    assert sorted(mirror.files("six")) == sorted([mit.filename, beside.filename])
    select(mirror, exclude_metadata={"license": ["MIT"]})
    mirror.sync()
    assert mirror.files("six") == [alone.filename]


def test_what_was_read_is_not_read_again_when_the_page_changes(
    mirror: Mirror, simulator: Simulator, mit: IndexFile, gpl: IndexFile
) -> None:
    select(mirror, metadata={"license": ["MIT"]})
    mirror.sync()
    assert metadata_requests(simulator) == 2
    simulator.forget()
    new = offer(simulator, "3.0", "License-Expression: MIT")
    mirror.sync()
    assert metadata_requests(simulator) == 1
    assert mirror.files("six") == [mit.filename, new.filename]


def test_what_is_held_is_not_asked_for(
    mirror: Mirror, simulator: Simulator, mit: IndexFile, gpl: IndexFile
) -> None:
    mirror.sync()
    select(mirror, metadata={"license": ["MIT"]})
    mirror.sync()
    assert metadata_requests(simulator) == 0
    assert mirror.files("six") == [mit.filename]


@pytest.mark.parametrize("key", ["metadata", "exclude_metadata"])
def test_a_line_that_breaks_decides_nothing_and_holds_up_nothing_else(
    mirror: Mirror, simulator: Simulator, mit: IndexFile, key: str
) -> None:
    """What was held stays, what was not does not come, and all else goes on."""
    other = offer(simulator, "2.0", "License-Expression: MIT")
    select(mirror, **{key: {"license": ["MIT" if key == "metadata" else "GPL"]}})
    mirror.sync()
    assert mirror.files("six") == [mit.filename, other.filename]
    mirror.query("UPDATE projects SET facts = NULL")
    mirror.path(mit).with_name(f"{mit.filename}.metadata").unlink()
    new = offer(simulator, "3.0", "License-Expression: MIT")
    other.remove()
    for file in (mit, new):
        simulator.fault(f"{file.quoted_path}.metadata", Reset())
    result = mirror.sync(sound=False)
    assert result.state == "incomplete"
    assert mirror.files("six") == [mit.filename]
    simulator.heal()
    assert mirror.sync(sound=False).state == "completed"
    assert mirror.files("six") == [mit.filename, new.filename]


@pytest.mark.parametrize("counted", [{"latest": 1}, {"max_versions": 1}])
def test_a_line_that_breaks_lets_no_other_release_in_its_place(
    mirror: Mirror, simulator: Simulator, mit: IndexFile, counted: dict[str, int]
) -> None:
    mirror.configure(delete={"max_share": 1.0})  # all that is here goes beyond max_versions
    select(mirror, metadata={"license": ["MIT"]})
    mirror.file.write_text(mirror.file.read_text() + f"{next(iter(counted))} = 1\n")
    if "max_versions" in counted:
        mirror.sync()
        assert mirror.files("six") == [mit.filename]
    new = offer(simulator, "2.0", "License-Expression: MIT")
    if "latest" in counted:
        mirror.sync()
        assert mirror.files("six") == [new.filename]
    before = mirror.files("six")
    mirror.query("UPDATE projects SET facts = NULL")
    for path in mirror.root.glob("packages/six/*.metadata"):
        path.unlink()
    offer(simulator, "0.5", "License-Expression: MIT")
    simulator.fault(f"{new.quoted_path}.metadata", Reset())
    assert mirror.sync(sound=False).state == "incomplete"
    assert mirror.files("six") == before
    simulator.heal()
    mirror.sync(sound=False)
    assert mirror.files("six") == ([] if "max_versions" in counted else [new.filename])


def test_core_metadata_that_is_not_what_was_announced_is_unknown_and_told_of(
    mirror: Mirror, simulator: Simulator, mit: IndexFile, gpl: IndexFile
) -> None:
    gpl.set(metadata=b"Metadata-Version: 2.4\nName: six\nVersion: 2.0\nLicense: MIT\n")
    select(mirror, metadata={"license": ["MIT"]})
    for _ in range(2):
        assert reasons(mirror.sync().failures) == {gpl.filename: "digest-mismatch"}
        assert mirror.files("six") == [mit.filename]


def test_explain_names_field_and_value(mirror: Mirror, mit: IndexFile, gpl: IndexFile) -> None:
    select(mirror, metadata={"license": ["MIT"]})
    (entry,) = explain(mirror.config, "six", gpl.filename).files
    assert not entry.verdict.selected
    assert entry.verdict.rule == "select.metadata"
    assert entry.verdict.fact == "license is GNU GPL, by core metadata"


def test_a_field_that_does_not_exist_is_an_error(mirror: Mirror) -> None:
    select(mirror, metadata={"licence": ["MIT"]})
    with pytest.raises(ConfigError, match="licence"):
        _ = mirror.config
