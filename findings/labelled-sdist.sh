#!/usr/bin/env bash
# A web server sends a .tar.gz with `Content-Encoding: gzip`, as Apache does after AddEncoding.
# Which clients can still install it?
#
# Guess: all clients that ask for files with `Accept-Encoding: identity`.
# Seen: only pip, which reads the raw bytes. uv asks for "identity" but unpacks the answer, and then
# calls the archive damaged. pdm compares the digest on the page with the unpacked bytes. So a mirror
# must never send that header, and a mirror of such a server must try the raw bytes first.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export XDG_CACHE_HOME=$where/cache PDM_CHECK_UPDATE=0 HOME=$where
tool() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
tool pip pip==26.3; tool uv uv==0.13.9; tool pdm pdm==2.29.4 'hishel[httpx2]==1.4.0'

cat > index.py <<'PY'
import hashlib, http.server, io, json, tarfile, zipfile

info = {"METADATA": "Metadata-Version: 2.2\nName: thing\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": ""}
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, "w") as archive:
    for name, text in info.items():
        archive.writestr(f"thing-1.0.dist-info/{name}", text)
backend = """
import pathlib
def build_wheel(directory, settings=None, metadata=None):
    name = "thing-1.0-py3-none-any.whl"
    pathlib.Path(directory, name).write_bytes(pathlib.Path("thing.whl").read_bytes())
    return name
"""
members = {"PKG-INFO": info["METADATA"].encode(), "thing.whl": wheel.getvalue(), "backend.py": backend.encode(),
           "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'}
sdist = io.BytesIO()
with tarfile.open(fileobj=sdist, mode="w:gz") as archive:
    for name, data in members.items():
        entry = tarfile.TarInfo(f"thing-1.0/{name}")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
data = sdist.getvalue()
page = json.dumps({"meta": {"api-version": "1.1"}, "name": "thing", "versions": ["1.0"], "files": [
    {"filename": "thing-1.0.tar.gz", "url": "/files/thing-1.0.tar.gz", "size": len(data),
     "hashes": {"sha256": hashlib.sha256(data).hexdigest()}, "upload-time": "2025-01-02T03:04:05Z"}]}).encode()

class Index(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        is_file = self.path.endswith(".tar.gz")
        body = data if is_file else page
        with open("asked", "a") as log:
            if is_file:
                log.write(f"{self.headers['User-Agent'].split('/')[0]} {self.headers['Accept-Encoding']}\n")
        self.send_response(200 if is_file or self.path == "/simple/thing/" else 404)
        self.send_header("Content-Type", "application/x-tar" if is_file else "application/vnd.pypi.simple.v1+json")
        if is_file:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
mkfifo port; python3 index.py > port & server=$!; read -r port < port
index=http://127.0.0.1:$port/simple/

verdict() { if "$@" > log 2>&1; then echo takes it; else echo refuses it; fi; }
pip=$(verdict pip/bin/pip --isolated install -q --no-cache-dir --no-build-isolation --target got-pip --index-url "$index" thing)
uv/bin/uv venv -q venv
uv=$(verdict uv/bin/uv pip install -q -p venv/bin/python --no-config --no-cache --default-index "$index" thing)
mkdir app; cat > app/pyproject.toml <<TOML
[project]
name = "app"
version = "1"
requires-python = ">=3.10"
dependencies = ["thing"]
[[tool.pdm.source]]
name = "pypi"
url = "$index"
TOML
pdm=$(cd app && verdict ../pdm/bin/pdm lock)
echo "pip 26.3, uv 0.13.9, pdm 2.29.4; a gzipped sdist with Content-Encoding: gzip"
sort -u asked | sed 's/^/asked for it: /'
seen="pip $pip, uv $uv, pdm $pdm"
echo "$seen"
[ "$seen" = "pip takes it, uv refuses it, pdm refuses it" ] || { echo "that has changed"; exit 1; }
