#!/usr/bin/env bash
# A JSON page gives the sha256 of a file in capital letters. The simple API asks for "the hex-encoded
# hash" and names no case; hashlib, sha256sum and openssl write small letters, PowerShell capitals.
# pip 26.3, uv 0.13.9, Poetry 2.5.1 and PDM 2.29.4 install the project.
#
# Guess: all of them compare the bytes that the digits mean.
# Seen: pip and uv install it. Poetry copies the capitals into its lock, and then refuses the file that
# it has just locked. PDM cannot lock: it reports a mismatch of two digests that differ only in case. So a
# mirror should read both and write small letters.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
for tool in "pip==26.3 uv==0.13.9" "poetry==2.5.1" "pdm==2.29.4 hishel[httpx2]==1.4.0"; do
    name=${tool%%=*}
    python3 -m venv "$name"
    # shellcheck disable=SC2086
    "$name/bin/python" -m pip install -q --disable-pip-version-check $tool
done

python3 - <<'PY'
import hashlib, json, pathlib, zipfile

info = "capitals-1.0.dist-info"
members = {
    "capitals.py": "",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: capitals\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
folder = pathlib.Path("index/simple/capitals")
folder.mkdir(parents=True)
wheel = folder / "capitals-1.0-py3-none-any.whl"
with zipfile.ZipFile(wheel, "w") as archive:
    for member, text in members.items():
        archive.writestr(member, text)
digest = hashlib.sha256(wheel.read_bytes()).hexdigest().upper()
file = {"filename": wheel.name, "url": wheel.name, "hashes": {"sha256": digest}}
page = {"meta": {"api-version": "1.0"}, "name": "capitals", "files": [file]}
(folder / "index.json").write_text(json.dumps(page))
PY
cat > serve.py <<'PY'
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

class Handler(SimpleHTTPRequestHandler):
    extensions_map = {".json": "application/vnd.pypi.simple.v1+json", "": "application/octet-stream"}

    def translate_path(self, path):
        found = super().translate_path(path)
        return found + "index.json" if found.endswith("/") else found

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd index && exec python3 ../serve.py "$port" > /dev/null 2>&1) & server=$!
index=http://127.0.0.1:$port/simple/

mkdir project
cat > project/pyproject.toml <<TOML
[project]
name = "application"
version = "0"
requires-python = ">=3.9"
dependencies = ["capitals"]
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "local"
url = "$index"
priority = "primary"
[tool.pdm]
distribution = false
[[tool.pdm.source]]
name = "pypi"
url = "$index"
verify_ssl = false
TOML
export POETRY_VIRTUALENVS_IN_PROJECT=true PDM_CHECK_UPDATE=false PIP_NO_INDEX= PIP_FIND_LINKS=
says() { if "${@:2}" > log 2>&1; then echo "$1: ok"; else echo "$1: $(grep -oi 'not found in.* known hashes\|hash mismatch' log | tail -n 1)"; fi; }
{
    python3 -m venv target
    says pip pip/bin/pip --python target/bin/python install --no-cache-dir --index-url "$index" capitals
    says uv pip/bin/uv pip install -p target --reinstall --no-cache --default-index "$index" capitals
    says "poetry lock" poetry/bin/poetry -C project lock
    says "poetry install" poetry/bin/poetry -C project install
    says "pdm lock" pdm/bin/pdm lock -p project
} | tee seen
diff seen - <<'TXT'
pip: ok
uv: ok
poetry lock: ok
poetry install: not found in known hashes
pdm lock: Hash mismatch
TXT
