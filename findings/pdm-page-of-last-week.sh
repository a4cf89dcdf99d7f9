#!/usr/bin/env bash
# A web server gives the page of a project as a file: with Last-Modified, and without Cache-Control, as nginx
# does. The page is 100 days old. A client has asked for it; then a new release is published. pip 26.3,
# uv 0.13.9, Poetry 2.5.1 and PDM 2.29.4 have their caches on, and lock or resolve anew.
#
# Guess: a page without Cache-Control is asked for each time, or at most ten minutes later, as PyPI's pages are.
# Seen: pip and Poetry ask each time, and uv after ten minutes. PDM keeps the page for a tenth of the page's
# age, up to a week: so the older the last release is, the later PDM sees the next one, or a yank. No message
# tells of it. A mirror has to send "Cache-Control: max-age=0" with its pages, also as plain files.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
export PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring PDM_CHECK_UPDATE=false
make() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
make tool pip==26.3 uv==0.13.9
make poetry poetry==2.5.1
make pdm pdm==2.29.4 "hishel[httpx2]==1.4.0"
unset PIP_FIND_LINKS UV_FIND_LINKS

cat > serve.py <<'PY'
"""An index whose answers are dated as if they had been given some seconds ago."""

import hashlib, http.server, io, pathlib, sys, time, zipfile
from email.utils import formatdate

DAY = 86400


def wheel(version):
    info, packed = f"here-{version}.dist-info", io.BytesIO()
    members = {
        "here.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: here\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return packed.getvalue()


files = {f"here-{version}-py3-none-any.whl": wheel(version) for version in ("1.0", "2.0")}
links = [f'<a href="{name}#sha256={hashlib.sha256(body).hexdigest()}">{name}</a>' for name, body in files.items()]
old, new = (("<!DOCTYPE html>" + "".join(some)).encode() for some in (links[:1], links))


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, client, age, _, _, name = self.path.split("/")
        if name in files:
            body, kind, changed = files[name], "application/octet-stream", 100 * DAY
        else:
            is_new = pathlib.Path("published").exists()
            body, kind, changed = (new, "text/html", 0) if is_new else (old, "text/html", 100 * DAY)
        self.send_response_only(200)
        self.send_header("Date", formatdate(time.time() - int(age), usegmt=True))
        self.send_header("Last-Modified", formatdate(time.time() - int(age) - changed, usegmt=True))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Index).serve_forever()
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 serve.py "$port" & server=$!
for _ in $(seq 100); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null && break; sleep 0.1; done

project() { # the address of the index
    mkdir -p project && cat > project/pyproject.toml <<TOML
[project]
name = "application"
version = "0"
requires-python = ">=3.11"
dependencies = ["here"]
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "local"
url = "$1"
priority = "primary"
[tool.pdm]
distribution = false
[[tool.pdm.source]]
name = "pypi"
url = "$1"
TOML
}
version() { grep -oE 'here==[0-9.]+|here-[0-9.]+$|^version = "[0-9.]+"' | tail -n 1 | tr -dc '0-9.'; }
ask() { # a client, and the address of the index: prints the version of "here" that it finds
    case $1 in
    pip) tool/bin/pip install -q --dry-run --ignore-installed --report - --index-url "$2" here 2> log |
        python3 -c 'import json, sys; print("here==" + json.load(sys.stdin)["install"][0]["metadata"]["version"])' | version ;;
    uv) echo here | tool/bin/uv pip compile -q --no-config --default-index "$2" - 2> log | version ;;
    poetry) rm -f project/poetry.lock; poetry/bin/poetry -C project lock > log 2>&1; version < project/poetry.lock ;;
    pdm) rm -f project/pdm.lock; pdm/bin/pdm lock -p project > log 2>&1; version < project/pdm.lock ;;
    esac
}
for case in "pip 518400" "poetry 518400" "uv 540" "uv 660" "pdm 518400" "pdm 691200"; do
    read -r client age <<< "$case"
    index=http://127.0.0.1:$port/$client/$age/simple/
    project "$index"
    rm -f published; first=$(ask "$client" "$index")
    touch published; second=$(ask "$client" "$index")
    echo "$client: $first, and $age seconds later $second"
done | tee seen
diff seen - <<'TXT'
pip: 1.0, and 518400 seconds later 2.0
poetry: 1.0, and 518400 seconds later 2.0
uv: 1.0, and 540 seconds later 1.0
uv: 1.0, and 660 seconds later 2.0
pdm: 1.0, and 518400 seconds later 1.0
pdm: 1.0, and 691200 seconds later 2.0
TXT
