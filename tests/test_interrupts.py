"""What a signal does, where it may break in, and what a second one does; each in a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys
from pypimirror import interrupts
INT, TERM = signal.SIGINT, signal.SIGTERM
def send(number): os.kill(os.getpid(), number)
interrupts.install()
def raised(number):
    try:
        send(number)
    except KeyboardInterrupt:
        return True
    return False
def say(*what):
    print(*what, flush=True)
"""


def outcome(script: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.split("\n")[:-1]


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
    send(INT); send(TERM); say("whole")
say(raised(TERM))
"""
    assert outcome(script) == (0, ["whole", "False"])


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
