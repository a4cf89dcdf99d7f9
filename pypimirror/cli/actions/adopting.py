"""`pypimirror adopt`: take over files that are in the mirror root already, also bandersnatch's."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from pypimirror.bandersnatch.draft import OptionOutcome, Translated
from pypimirror.bandersnatch.translate import Translation
from pypimirror.catalog.queries import runs
from pypimirror.cli.actions.initialise import write
from pypimirror.cli.display import show
from pypimirror.cli.display.amounts import amount
from pypimirror.cli.display.output import out, print_json
from pypimirror.cli.display.progress import TerminalReporter
from pypimirror.config.settings import DEFAULT_FILE, Config, ConfigError
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline import lifecycle, sequence
from pypimirror.pipeline.download import adopt
from pypimirror.pipeline.executors.children import children
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.system import regular


def configure(translation: Translation, config: Path | None, *, force: bool) -> None:
    """Write the translated configuration; raises `ConfigError` if there is no tree to adopt.

    An identical file is left alone, so that an interrupted adoption can be repeated. Another file
    is replaced only with `force`.
    """
    file = config or DEFAULT_FILE
    if not (translation.root / "simple").is_dir():
        raise ConfigError(f"{translation.root}: there is no tree of bandersnatch to adopt")
    content = translation.text.encode(errors="surrogateescape")
    if not (file.is_file() and regular.read_written(file) == content):
        write(file, translation.text, force=force)


def show_options(options: Iterable[Translated], *, quiet: bool) -> None:
    """Print a line for each option; with `quiet`, only for options that need attention."""
    for option in options:
        if not quiet or option.outcome in (OptionOutcome.NOT_POSSIBLE, OptionOutcome.UNKNOWN):
            out.print(str(option), markup=False)


def options_as_json(translation: Translation, config: Path | None) -> dict[str, Any]:
    """Return what became of each option, and the path of the configuration."""
    return {
        "config": str((config or DEFAULT_FILE).absolute()),
        "options": [
            {"section": o.section, "option": o.option, "outcome": o.outcome.value, "note": o.note}
            for o in translation.options
        ],
    }


def show_text(translation: Translation, told: dict[str, Any], *, as_json: bool) -> None:
    """Print the configuration that would be written."""
    if as_json:
        print_json({**told, "text": translation.text})
    else:
        out.print(translation.text, markup=False, end="")


def run(config: Config, *, quiet: bool) -> Summary:
    """Adopt the tree inline."""

    def work(current: Run) -> None:
        adopt.adopt(current, partial(sequence.sync, executor=children))

    with TerminalReporter(quiet) as reporter:
        return lifecycle.sync(
            config, (), work, command="adopt", trigger="inline", reporter=reporter
        )


def show_result(
    result: Summary, *, as_json: bool, quiet: bool, told: dict[str, Any] | None = None
) -> None:
    """Print what was taken over and what is missing; in JSON, the keys of `told` come first."""
    if as_json:
        print_json({**(told or {}), **result.as_json()})
        return
    if quiet and not result.failures:
        return
    counts = result.counts
    out.print(f"Run {result.run} {show.styled(result.state)} in {result.seconds:.1f} s.")
    out.print(
        f"  {number_of(counts['files_verified'], 'file')} taken over, "
        f"{amount(counts['bytes_checked'])} read, {counts['files_missing']} not here; "
        "the next sync fetches what is missing"
    )
    if result.state != runs.COMPLETED:
        show.message(result)
    show.failures(
        (stage, problem.project, problem.file, problem.reason.value, problem.message)
        for stage, problem in zip(result.stages, result.failures, strict=True)
    )
