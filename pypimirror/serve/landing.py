"""How to install from a mirror, for people: lines for a terminal and a page for a browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from markupsafe import Markup

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_PAGE = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A mirror of Python packages</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto }}
pre {{ background: #f4f4f4; color: #111; padding: .8rem 1rem; overflow-x: auto }}
</style>
</head>
<body>
<h1>A mirror of Python packages</h1>
<p>Install from here, with the name of a project in place of <em>PROJECT</em>:</p>
{commands}
<p><a href="simple/">All projects of this mirror</a></p>
</body>
</html>
""")

_COMMAND = Markup("<h2>{tool}</h2>\n<pre><code>{command}</code></pre>\n")


def install_commands(index_url: str) -> dict[str, str]:
    """Return the commands that install from `index_url` (it ends in `/simple/`), by tool."""
    parts = urlsplit(index_url)
    trust = ""
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        trust = f" --trusted-host {parts.hostname}"  # pip refuses plain HTTP from other machines
    return {
        "pip": f"pip install --index-url {index_url}{trust} PROJECT",
        "uv": f"uv pip install --default-index {index_url} PROJECT",
        "poetry": f"poetry source add --priority=primary mirror {index_url}",
    }


def landing_page(index_url: str) -> bytes:
    """The page at the mirror's root address, which says how to install."""
    commands = install_commands(index_url).items()
    blocks = Markup("").join(_COMMAND.format(tool=tool, command=line) for tool, line in commands)
    return _PAGE.format(commands=blocks).encode()
