"""Requirements that people name: what is none is a mistake with a sentence, never a traceback."""

from __future__ import annotations

import pytest

from pypimirror.check import subjects
from pypimirror.config.settings import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        *("six==", f"six; {'(' * 300}", f"six=={'9' * 5000}", "s" * 9000),
        *("six @ http://me:secret@h/six.whl", "http://me:secret@h/six.whl"),
    ],
)
def test_what_is_no_requirement_is_said_without_a_login(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        subjects.of_texts([text])
    assert "secret" not in str(raised.value)
