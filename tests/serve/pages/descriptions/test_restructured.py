"""reStructuredText is shown as `readme_renderer.rst` shows it, though it takes less time here."""

from __future__ import annotations

import gc
import io
import tracemalloc
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.metadata import parse_email
from readme_renderer import rst

from pypimirror.serve.pages.about import cleaned
from pypimirror.serve.pages.descriptions import restructured

#: docutils repeats this block where it complains about it.
REPEATED = "x\n\n.. nosuch::\n\n" + "   y\n" * 2000

#: Each way in which one part of a text contains another, and what the end of a text decides.
TEXTS = {
    "lists": """
* a

  1. b

     - c

       term
         what it *means*

  2. d

* e
""",
    "fields and options": """
Text.

:Depends: - now
          - then

-a, --all  all of it
-b X       `b`
""",
    "tables": """
=== ===
a   b
=== ===
1   * x
    * y
=== ===

+---+------+
| a | * b  |
|   | * c  |
+---+------+
""",
    "directives": """
.. note:: a

   * b

   .. warning::

      c |d|_

.. |d| replace:: *e*
.. _d: https://e.example/
.. image:: https://e.example/a.svg
   :target: https://e.example/
   :width: 20px
""",
    "literal blocks": """
a::

    b

c::

> quoted
> lines

>>> print(1)
1

| line
|   block
""",
    "references": """
See b_, `the end`_, `c <https://c.example/>`_, [1]_, [#]_ and [X]_.

.. _b: https://b.example/
.. [1] one
.. [#] another
.. [X] Y

The end
=======

`A` "quote" -- and 'one'...
""",
    "sections": """
One
====

Two
----

Three
~~~~~

a

Four
----

.. contents::

Five
====

b

.. a comment

----

c
""",
    "code": """
.. code-block:: python

    if a < b: pass

.. code:: nothing

    x

:math:`x_1`
""",
}

FAULTY = {
    "an unknown reference": "See nothing_.",
    "a title that is too short": "A long title\n====\n",
    "a file": ".. include:: /etc/hostname\n",
    "raw HTML": ".. raw:: html\n\n   <script>x</script>\n",
    "an unknown directive": "* a\n\n  .. no-such-thing:: x\n",
    "nothing": ".. only a comment\n",
}


def usual(text: str) -> str | None:
    """Return what `readme_renderer` makes of a text, as pages show it."""
    html = rst.render(text, stream=io.StringIO())
    return None if html is None else cleaned(html)


def ours(text: str) -> str | None:
    """Return what pages show."""
    html = restructured.html(text)
    return None if html is None else cleaned(html)


@pytest.mark.parametrize("what", TEXTS)
def test_every_construct_is_shown_as_elsewhere(what: str) -> None:
    html = ours(TEXTS[what])
    assert html
    assert html == usual(TEXTS[what])


def test_descriptions_of_real_projects_are_shown_as_elsewhere() -> None:
    texts = {}
    for each in distributions():
        raw, _ = parse_email((each.read_text("METADATA") or "").encode())
        kind, text = raw.get("description_content_type", ""), raw.get("description", "")
        if kind.partition(";")[0] in ("", "text/x-rst") and text.strip():
            texts[raw["name"]] = text[:30_000]
    assert len(texts) >= 10
    assert [name for name, text in texts.items() if ours(text) != usual(text)] == []


@pytest.mark.parametrize("what", FAULTY)
def test_a_text_with_a_fault_has_no_html_and_ends_nothing(what: str) -> None:
    assert usual(FAULTY[what]) is None
    assert restructured.html(FAULTY[what]) is None


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (".. role:: loud(strong)\n\n:loud:`a`", ":loud:`b`"),
        (".. role:: emphasis(strong)\n\n:emphasis:`a`", ":emphasis:`b`"),
        (".. default-role:: strong\n\n:faulty:`a`", "`b`"),
    ],
)
def test_roles_of_a_text_do_not_change_the_next_one(first: str, then: str) -> None:
    alone = restructured.html(then)
    restructured.html(first)
    assert restructured.html(then) == alone


def test_settings_of_docutils_on_this_machine_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docutils.conf").write_text("[general]\nraw_enabled: yes\nhalt_level: 5\n")
    monkeypatch.chdir(tmp_path)
    restructured._settings.cache_clear()
    try:
        assert restructured.html(FAULTY["raw HTML"]) is None
        assert restructured.html(TEXTS["lists"])
    finally:
        restructured._settings.cache_clear()


def test_nothing_stays_of_the_faults_of_a_text() -> None:
    """Each faulty description took memory for as long as the program ran."""
    tracemalloc.start()
    try:
        taken = []
        for _ in range(2):
            for _ in range(50):
                restructured.html(REPEATED)
            gc.collect()
            taken.append(tracemalloc.get_traced_memory()[0])
        assert taken[1] - taken[0] < 20 * len(REPEATED)
    finally:
        tracemalloc.stop()
