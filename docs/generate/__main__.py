"""Writes what the code knows best into the documentation: `make docs`.

Whole files: `configuration.md` from the sections' classes, `commands.md` from the typer app,
`schemas/` from the types of documents, and `known.json` of the catalog from its statements. In
other files, the tables between `<!-- generated: NAME -->` and `<!-- end -->`. With `--check`
nothing is written, and the exit code is 1 where a file is not what it should be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from docs.generate import statements
from docs.generate.commands import commands
from docs.generate.configuration import configuration
from docs.generate.schemas import schemas
from docs.generate.tables import fill
from pypimirror.catalog.mapping import prepared

DOCS = Path(__file__).resolve().parents[1]
FILES: dict[str, Callable[[], str]] = {"configuration.md": configuration, "commands.md": commands}


def wanted() -> Iterator[tuple[Path, str]]:
    """Yield each file that holds something generated, with what it should say."""
    for name, write in FILES.items():
        yield DOCS / name, write()
    for name, text in schemas():
        yield DOCS / "schemas" / name, text
    yield prepared.KNOWN, statements.known()
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md")]):
        if path.name not in FILES and "<!-- generated:" in (text := path.read_text("utf-8")):
            yield path, fill(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check them; the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated documentation.")
    parser.add_argument("--check", action="store_true", help="only say what is not current")
    check = parser.parse_args(arguments).check
    stale = 0
    for path, text in wanted():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{path.name} is not current; run `make docs`", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
            print(f"Wrote {path.name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
