"""Shared by the fuzzers: how inputs are made, tried and kept. It does not know what is fuzzed.

    python -m tests.<part>.fuzz_<what> [DIRECTORY] [options of libFuzzer: -max_total_time=900]

If atheris is installed, coverage guides the inputs. Else seeds are edited at random, the same way
in each run, for as many seconds as -max_total_time says. DIRECTORY keeps interesting inputs. The
first byte of an input chooses a target; the rest is for that target. An input that fails is kept as
`crash-*`; write a test for its cause in a `test_found_by_fuzzing.py`.

The suite also runs a few of these edits (`edited`), so that every fuzzer keeps working.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

try:
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
except ImportError:
    atheris = None

LONGEST = 65536  #: bytes of an input


def instrumented(*packages: str) -> AbstractContextManager[object]:
    """Within this block, instrument imports of these packages for coverage, if possible."""
    return (
        atheris.instrument_imports(include=list(packages)) if atheris else contextlib.nullcontext()
    )


def targets(*several: Callable[[bytes], None], seconds: float) -> Callable[[bytes], None]:
    """Return a function that tries one input with the target that its first byte chooses.

    More than `seconds` for one input is a failure.
    """

    def one_input(data: bytes) -> None:
        if not data:
            return
        started = time.monotonic()
        several[data[0] % len(several)](data[1:])
        assert time.monotonic() - started < seconds, "took too long"

    return one_input


def edited(
    seeds: Sequence[bytes], words: Sequence[bytes] = (), *, start: int = 0
) -> Iterator[bytes]:
    """Yield seeds with a few edits each, for ever: the same ones for the same `start`."""
    chance = random.Random(start)
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 6)):
            at = 1 + chance.randrange(max(1, len(data)))
            piece = chance.randbytes(chance.randrange(4))
            if words and chance.random() < 0.5:
                piece = chance.choice(words)
            kind = chance.randrange(4)
            if kind == 0:  # replace bytes
                data[at : at + len(piece)] = piece
            elif kind == 1:
                data[at:at] = piece
            elif kind == 2:
                del data[at : at + chance.randrange(1, 20)]
            else:  # repeat bytes
                data[at:at] = data[at : at + chance.randrange(1, 200)]
        yield bytes(data[:LONGEST])


def run(
    name: str,
    one_input: Callable[[bytes], None],
    seeds: Sequence[bytes],
    *,
    words: Sequence[bytes] = (),
    options: Sequence[str] = (),
) -> None:
    """Fuzz until told to stop, by the arguments of the command."""
    given = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    directory = Path(next((a for a in sys.argv[1:] if not a.startswith("-")), f"fuzz-{name}"))
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (directory / f"seed-{number:02}").write_bytes(seed)
        one_input(seed)
    if atheris is None:
        seconds = [o.removeprefix("-max_total_time=") for o in given if "max_total_time" in o]
        _without_atheris(directory, one_input, edited(seeds, words), float((seconds or ["60"])[0]))
        return
    settings = [f"-artifact_prefix={directory}/../", f"-max_len={LONGEST}", *options, *given]
    if words:
        dictionary = directory.with_name(directory.name + ".words")
        dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words))
        settings.insert(0, f"-dict={dictionary}")
    atheris.Setup([sys.argv[0], *settings, str(directory)], one_input)
    atheris.Fuzz()


def _without_atheris(
    directory: Path, one_input: Callable[[bytes], None], inputs: Iterator[bytes], seconds: float
) -> None:
    end = time.monotonic() + seconds
    for count in itertools.count():
        if time.monotonic() > end:
            print(f"{count} inputs, and nothing found")
            return
        data = next(inputs)
        try:
            one_input(data)
        except BaseException:
            crash = directory.parent / f"crash-{hashlib.sha1(data).hexdigest()}"
            crash.write_bytes(data)
            print(f"{crash} fails, after {count} inputs", file=sys.stderr)
            raise


def _escaped(word: bytes) -> str:
    """Return a word in the notation of libFuzzer's dictionaries."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\')
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in word)
