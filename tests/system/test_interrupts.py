"""What a signal does, where it may break in, and what a second one does; each in a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pypimirror.system import abrupt

SCRIPT = """
import os, signal, sys
from pypimirror.system import interrupts
INT, TERM = signal.SIGINT, signal.SIGTERM
def send(number): os.kill(os.getpid(), number)
interrupts.install()
def raised(number):
    try:
        with interrupts.raised():
            send(number)
    except KeyboardInterrupt:
        return True
    return False
def say(*what):
    print(*what, flush=True)
"""


def outcome(script: str, told: str = "") -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == told
    return done.returncode, done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("number", ["INT", "TERM"])
def test_a_signal_ends_the_process_at_once_where_nothing_is_at_stake(number: str) -> None:
    script = f"try: send({number})\nfinally: say('never')"
    assert outcome(script, "pypimirror: interrupted\n") == (130, [])


def test_nothing_is_at_stake_any_more_afterwards() -> None:
    script = "with interrupts.raised(): pass\nsend(INT); say('never')"
    assert outcome(script, "pypimirror: interrupted\n") == (130, [])


def test_an_interrupt_that_a_callback_has_lost_is_raised_again() -> None:
    """Python says of an exception in a finalizer that it is ignored, and goes on."""
    script = """
class Object:
    def __del__(self): send(INT)
try:
    with interrupts.raised():
        Object()
        say("on")
        while True: signal.pause()
except KeyboardInterrupt:
    say("raised")
send(INT)
"""
    assert outcome(script) == (-signal.SIGINT, ["on", "raised"])


def test_other_errors_of_callbacks_are_told_as_ever() -> None:
    script = "import subprocess\nclass Object:\n    def __del__(self): 1 / 0\n"
    script += "sys.stderr = sys.stdout\nObject()\n"
    code, said = outcome(script)
    assert (code, said[-1]) == (0, "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    "error",
    [
        "MemoryError()",
        "ImportError('libx.so: failed to map segment from shared object')",
        "OSError(12, 'Cannot allocate memory')",
        'RuntimeError("can\'t start new thread")',
    ],
)
@pytest.mark.parametrize("where", ["threading.Thread(target=work).start()", "work()"])
def test_the_end_of_memory_ends_the_process_with_one_line(error: str, where: str) -> None:
    """Others would wait for a thread that it has ended."""
    script = f"""
import threading
from pypimirror.system import abrupt
abrupt.install()
def work(): raise {error}
{where}
threading.Event().wait()
"""
    assert outcome(script, f"pypimirror: {abrupt.OUT_OF_MEMORY}\n") == (3, [])


def test_the_end_of_memory_in_a_callback_is_met_again_elsewhere() -> None:
    script = "class Object:\n    def __del__(self): raise MemoryError\nObject(); say('on')"
    assert outcome(script) == (0, ["on"])


def test_a_program_is_told_in_json() -> None:
    script = "sys.argv.append('--json')\nsend(INT)"
    code, said = outcome(script, "pypimirror: interrupted\n")
    assert json.loads("".join(said)) == {"error": {"exit": code, "message": "interrupted"}}


@pytest.mark.parametrize("number", ["INT", "TERM"])
def test_the_first_signal_interrupts(number: str) -> None:
    assert outcome(f"say(raised({number}))") == (0, ["True"])


@pytest.mark.parametrize("first", ["INT", "TERM"])
def test_a_second_interrupt_ends_the_process_at_once(first: str) -> None:
    script = f"say(raised({first}))\ntry: send(INT)\nfinally: say('never')"
    assert outcome(script) == (-signal.SIGINT, ["True"])


def test_a_second_sigterm_changes_nothing() -> None:
    assert outcome("say(raised(INT), raised(TERM), raised(TERM))") == (0, ["True False False"])


def test_no_signal_breaks_into_a_shield() -> None:
    script = """
with interrupts.shield():
    before = interrupts.is_heard()
    send(INT); send(TERM); say("whole", before, interrupts.is_heard())
say(raised(TERM))
"""
    assert outcome(script) == (0, ["whole False True", "False"])


@pytest.mark.parametrize("first", ["send(INT)", "send(TERM)", "interrupts.heard()"])
def test_a_second_interrupt_ends_the_process_in_a_shield(first: str) -> None:
    script = f"with interrupts.shield():\n    {first}; say('in'); send(INT); say('never')"
    assert outcome(script) == (-signal.SIGINT, ["in"])


def test_a_second_interrupt_ends_the_process_after_a_shield() -> None:
    script = "with interrupts.shield(): send(INT); say('in')\nsend(INT); say('never')"
    assert outcome(script) == (-signal.SIGINT, ["in"])


def test_a_shield_in_another_thread_is_none() -> None:
    script = """
import threading
def work():
    interrupts.heard()
    with interrupts.shield(): say("in")
thread = threading.Thread(target=work); thread.start(); thread.join()
"""
    assert outcome(script) == (0, ["in"])


def test_after_the_end_no_signal_changes_the_status() -> None:
    assert outcome("interrupts.ignore()\nsend(INT); send(TERM)\nsys.exit(3)") == (3, [])
