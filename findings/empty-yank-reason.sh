#!/usr/bin/env bash
# A JSON page says `"yanked": ""`, which devpi-server writes. Is that file yanked?
#
# Guess: all installers agree, because the specification says that a string means yanked.
# Seen: they disagree. For pip and pdm, the empty string means "not yanked", and they choose the file.
# For uv and poetry it means "yanked", and they choose the older one. So a mirror must not pass the
# empty string on; it must write `true` or a reason.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export XDG_CACHE_HOME=$where/cache POETRY_CACHE_DIR=$where/poetry-cache PDM_CHECK_UPDATE=0
export POETRY_VIRTUALENVS_IN_PROJECT=true HOME=$where
tool() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
tool pip pip==26.3; tool uv uv==0.13.9; tool poetry poetry==2.5.1; tool pdm pdm==2.29.4 'hishel[httpx2]==1.4.0'

cat > index.py <<'PY'
import hashlib, http.server, io, json, zipfile

def wheel(version):
    info = f"thing-{version}.dist-info"
    members = {
        "thing.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return data.getvalue()

files = {f"thing-{v}-py3-none-any.whl": wheel(v) for v in ("1.0", "2.0")}
page = {"meta": {"api-version": "1.1"}, "name": "thing", "versions": ["1.0", "2.0"], "files": [
    {"filename": n, "url": f"/files/{n}", "size": len(d), "upload-time": "2025-01-02T03:04:05Z",
     "hashes": {"sha256": hashlib.sha256(d).hexdigest()}, "yanked": "" if "-2.0-" in n else False}
    for n, d in files.items()]}

class Index(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        found = name in files or self.path == "/simple/thing/"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/octet-stream" if name else "application/vnd.pypi.simple.v1+json")
        self.end_headers()
        self.wfile.write(files.get(name) or json.dumps(page).encode())

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
mkfifo port; python3 index.py > port & server=$!; read -r port < port
index=http://127.0.0.1:$port/simple/

project() { # project TOOL: a project that needs `thing`, with the index as that tool wants it told
    mkdir "app-$1"; cat > "app-$1/pyproject.toml" <<TOML
[project]
name = "app"
version = "1"
requires-python = ">=3.10"
dependencies = ["thing"]
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "lab"
url = "$index"
[[tool.pdm.source]]
name = "pypi"
url = "$index"
TOML
}
project poetry; project pdm
pip=$(pip/bin/pip --isolated download -q --no-deps -d got --index-url "$index" thing > log 2>&1; ls got | sed 's/thing-\(.*\)-py3.*/\1/')
uv=$(echo thing | uv/bin/uv pip compile -q --no-header --no-annotate --no-config --default-index "$index" - | sed -n 's/^thing==//p')
(cd app-poetry && ../poetry/bin/poetry lock -n > log 2>&1); poetry=$(sed -n 's/^version = "\(.*\)"/\1/p' app-poetry/poetry.lock)
(cd app-pdm && ../pdm/bin/pdm lock --no-isolation > log 2>&1); pdm=$(sed -n '/name = "thing"/,$s/^version = "\(.*\)"/\1/p' app-pdm/pdm.lock)
seen="pip $pip, uv $uv, poetry $poetry, pdm $pdm"
echo "pip 26.3, uv 0.13.9, poetry 2.5.1, pdm 2.29.4; thing 2.0 has \"yanked\": \"\", thing 1.0 has false"
echo "chosen: $seen"
[ "$seen" = "pip 2.0, uv 1.0, poetry 1.0, pdm 2.0" ] || { echo "that has changed"; exit 1; }
