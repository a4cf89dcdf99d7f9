"""`pypimirror doctor`: print what the checks find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pypimirror.cli.api import prefect_api
from pypimirror.cli.display.output import escape, out, print_json
from pypimirror.cli.errors import Exit
from pypimirror.config.settings import DEFAULT_FILE, ConfigError, load
from pypimirror.doctor.examine import examine
from pypimirror.doctor.finding import Finding, FindingState, failed, ok

_STYLE = {
    FindingState.OK: "green",
    FindingState.WARNING: "yellow",
    FindingState.FAILED: "red",
    FindingState.SKIPPED: "dim",
}


def run(file: Path | None, *, as_json: bool, quiet: bool) -> Exit:
    """Run all checks, print what they find, and return the exit code."""
    findings = []
    code = Exit.DONE
    for finding in _findings(file):
        findings.append(finding)
        if not as_json and not (quiet and finding.state in (FindingState.OK, FindingState.SKIPPED)):
            _show(finding)
    states = {finding.state for finding in findings}
    if FindingState.FAILED in states:
        # If there is a single finding, the configuration is unusable, which is wrong use.
        code = Exit.USAGE if len(findings) == 1 else Exit.INCOMPLETE
    if as_json:
        worst = next(
            s for s in (FindingState.FAILED, FindingState.WARNING, FindingState.OK) if s in states
        )
        print_json({"state": worst, "checks": [finding.as_json() for finding in findings]})
    return code


def _findings(file: Path | None) -> Iterator[Finding]:
    name = "configuration"
    try:
        config = load(file)
    except ConfigError as error:
        yield failed(name, str(error), "Correct what the message names; see docs/configuration.md")
        return
    yield ok(name, f"{file or DEFAULT_FILE}: {len(config.upstream)} upstream(s)")
    yield from examine(config, prefect_api())


def _show(finding: Finding) -> None:
    style = _STYLE[finding.state]
    out.print(f"[{style}]{finding.state:<8}[/] {finding.name:<14} {escape(finding.seen)}")
    if finding.remedy:
        out.print(f"{'':<8} {'':<14} {escape(finding.remedy)}")
