"""Requirements that people name: what is none is a mistake with a sentence, never a traceback."""

from __future__ import annotations

import pytest

from pypimirror.check import subjects
from pypimirror.config.settings import ConfigError


@pytest.mark.parametrize(
    "text",
    ["six==", "six @ http://h/six.whl", f"six; {'(' * 300}", f"six=={'9' * 5000}", "s" * 9000],
)
def test_what_is_no_requirement_is_said(text: str) -> None:
    with pytest.raises(ConfigError):
        subjects.of_texts([text])
