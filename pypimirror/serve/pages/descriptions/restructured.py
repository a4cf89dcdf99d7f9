"""reStructuredText becomes HTML by docutils, as `readme_renderer.rst` would do it, in less time.

docutils reads its settings anew for each text, and makes all 15 states of its parser for each list
and each directive, of which it uses two. Here settings are made once, and states when they are
needed. Nothing here cleans HTML: `about.cleaned` must do that.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable
from typing import Any

from docutils.core import Publisher, publish_parts
from docutils.frontend import Values
from docutils.parsers.rst import Parser, roles, states
from docutils.readers.standalone import Reader
from docutils.utils import SystemMessage
from docutils.writers.html5_polyglot import Writer
from readme_renderer.rst import SETTINGS, ReadMeHTMLTranslator


def html(text: str) -> str | None:
    """Return the HTML of a text; None if docutils finds a fault in it."""
    roles._roles.clear()  # docutils would keep roles that another project's text defines
    writer = Writer()
    writer.translator_class = ReadMeHTMLTranslator
    settings = _settings().copy()
    settings.warning_stream = io.StringIO()  # one for all texts would keep their faults for ever
    try:
        parts = publish_parts(text, reader=Reader(Parser()), writer=writer, settings=settings)
    except SystemMessage:
        return None
    return parts["docinfo"] + parts["fragment"] or None


@functools.cache
def _settings() -> Values:
    parser = Parser()
    ours = {
        # Colours and links to headings would be cleaned away.
        "syntax_highlight": "none",
        "section_self_link": False,
        "traceback": True,  # or a fault ends this process
        "_disable_config": True,  # a docutils.conf of this machine must not count
    }
    return Publisher(Reader(parser), parser, Writer()).get_settings(**SETTINGS | ours)


class _Machine(states.NestedStateMachine):  # type: ignore[misc]
    """Parses a part of a text. docutils has a place for such a class: `State.nested_sm`."""

    def add_states(self, state_classes: Iterable[type[states.RSTState]]) -> None:
        self.states = _States(self, state_classes)


class _States(dict[str, Any]):
    """States of a machine by their names, made when they are asked for."""

    def __init__(self, machine: _Machine, classes: Iterable[type[states.RSTState]]) -> None:
        super().__init__()
        self._machine = machine
        self._classes = {each.__name__: each for each in classes}

    def __missing__(self, name: str) -> states.RSTState:
        state = self[name] = self._classes[name](self._machine, self._machine.debug)
        if getattr(self._machine, "memo", None):  # it runs; what comes earlier, it prepares itself
            state.runtime_init()
        return state


states.RSTState.nested_sm = _Machine
