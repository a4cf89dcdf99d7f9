#!/usr/bin/env bash
# A poetry.lock has the address of the index that each package comes from ([package.source] url). Here
# that address is changed to a second index, which has the same file, and the first one is shut down.
#
# Guess: "poetry install" fetches from the address that the lock has, as uv does with its lock.
# Seen: it asks the source of that name in pyproject.toml, and fails. The address in the lock only
# has to be there. So whoever moves to another index changes pyproject.toml, and "poetry lock" writes
# the new address (and content hash) into the lock.
set -euo pipefail
where=$(mktemp -d); servers=(); trap 'kill "${servers[@]}" 2> /dev/null || true; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache POETRY_VIRTUALENVS_IN_PROJECT=true
export POETRY_NO_INTERACTION=1 PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring POETRY_KEYRING_ENABLED=false
export POETRY_REQUESTS_MAX_RETRIES=0
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check poetry==2.5.1

python3 - <<'PY'
import hashlib, pathlib, zipfile

info = "here-1.0.dist-info"
members = {
    "here.py": "",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: here\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
folder = pathlib.Path("index/simple/here")
folder.mkdir(parents=True)
file = "here-1.0-py3-none-any.whl"
with zipfile.ZipFile(folder / file, "w") as archive:
    for member, text in members.items():
        archive.writestr(member, text)
digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
(folder / "index.html").write_text(f'<!DOCTYPE html><a href="{file}#sha256={digest}">{file}</a>')
PY
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
first=$(free); second=$(free)
python3 -m http.server "$first" --bind 127.0.0.1 --directory index > /dev/null 2>&1 & servers+=($!)
python3 -m http.server "$second" --bind 127.0.0.1 --directory index > second.log 2>&1 & servers+=($!)

mkdir project; cd project
cat > pyproject.toml <<TOML
[project]
name = "app"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["here"]

[tool.poetry]
package-mode = false

[[tool.poetry.source]]
name = "local"
url = "http://127.0.0.1:$first/simple/"
priority = "primary"
TOML
../tool/bin/poetry --version
../tool/bin/poetry lock -q
sed -i.bak "s/:$first/:$second/" poetry.lock
grep -c ":$second/simple" poetry.lock > /dev/null
kill "${servers[0]}"; wait "${servers[0]}" 2> /dev/null || true
if ../tool/bin/poetry install -q > ../log 2>&1; then outcome=installed; else outcome=failed; fi
asked=$(grep -c 'GET /simple/here' ../second.log || true)
echo "install with the second address in the lock: $outcome, the second index was asked $asked times"
[ "$outcome" = failed ] && [ "$asked" = 0 ]
