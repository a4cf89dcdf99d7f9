#!/usr/bin/env bash
# An HTML page of a project links to its file with a token in the query, as a gateway does that signs
# addresses: "name-1.0-py3-none-any.whl?token=abc/def". A query may have slashes (RFC 3986, 3.4), and
# base64 does. The text of the link is the file's name. pip 26.3, uv 0.13.9, pypi-simple 1.8.0.
#
# Guess: all of them take the name from the path, or from the text, which must agree.
# Seen: uv takes what stands after the last slash of the whole address, "def". It finds no version, and
# names no file that it left out. On a JSON page, which has names of its own, it finds the file. So a
# mirror should put no query into HTML pages, or none with a slash.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
python3 -m venv tool
tool/bin/python -m pip install -q --disable-pip-version-check pip==26.3 uv==0.13.9 pypi-simple==1.8.0

cat > serve.py <<'PY'
import io, json, sys, zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE = "tokens-1.0-py3-none-any.whl"
INFO = "tokens-1.0.dist-info"
members = {
    "tokens.py": "",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: tokens\nVersion: 1.0\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
members[f"{INFO}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{INFO}/RECORD"])
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, "w") as archive:
    for member, text in members.items():
        archive.writestr(member, text)
TOKENS = {"html": "abc/def", "html-without": "abcdef", "json": "abc/def"}

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        form, *_, name = self.path.partition("?")[0].strip("/").split("/")
        address = f"/{form}/files/{FILE}?token={TOKENS[form]}"
        if name == FILE:
            kind, content = "application/octet-stream", wheel.getvalue()
        elif form == "json":
            file = {"filename": FILE, "url": address, "hashes": {}}
            page = {"meta": {"api-version": "1.0"}, "name": "tokens", "files": [file]}
            kind, content = "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
        else:
            kind, content = "text/html", f'<!DOCTYPE html><a href="{address}">{FILE}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self):
        self.send_error(405)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 serve.py "$port" > /dev/null 2>&1 & server=$!

export PIP_NO_INDEX= PIP_FIND_LINKS=
python3 -m venv target
says() { if "${@:2}" > log 2>&1; then echo "$1: ok"; else echo "$1: $(grep -oi 'no versions of tokens\|no matching.*' log | tail -n 1)"; fi; }
for form in html html-without json; do
    index=http://127.0.0.1:$port/$form/
    says "$form, pip" tool/bin/pip --python target/bin/python install --no-cache-dir --index-url "$index" tokens
    says "$form, uv" tool/bin/uv pip install -p target --reinstall --no-cache --default-index "$index" tokens
    tool/bin/python -c '
import sys
from pypi_simple import PyPISimple
with PyPISimple(sys.argv[2]) as client:
    print(f"{sys.argv[1]}, pypi-simple:", *(p.filename for p in client.get_project_page("tokens").packages))
' "$form" "$index"
done | tee seen
diff seen - <<'TXT'
html, pip: ok
html, uv: no versions of tokens
html, pypi-simple: tokens-1.0-py3-none-any.whl
html-without, pip: ok
html-without, uv: ok
html-without, pypi-simple: tokens-1.0-py3-none-any.whl
json, pip: ok
json, uv: ok
json, pypi-simple: tokens-1.0-py3-none-any.whl
TXT
