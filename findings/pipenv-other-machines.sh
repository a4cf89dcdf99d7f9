#!/usr/bin/env bash
# pipenv locks an application of which one dependency is for Windows alone. Poetry, PDM and uv lock such
# a dependency like all others: one version, with the digests of its files.
#
# Guess: pipenv does so, too: Pipfile.lock pins what every machine installs.
# Seen: on Linux it writes "version": "*" and no digest for it. So what Windows installs is not locked,
# and a mirror of exactly what the lock names does not know which version that will be.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check pipenv==2026.10.3

python3 - <<'PY'
import pathlib, zipfile

for name in ("here", "windows"):
    info = f"{name}-1.0.dist-info"
    members = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
    folder = pathlib.Path("index/simple", name)
    folder.mkdir(parents=True)
    file = f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / file, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{file}">{file}</a>')
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory index > /dev/null 2>&1 & server=$!

mkdir project; cd project
cat > Pipfile <<TOML
[[source]]
url = "http://127.0.0.1:$port/simple/"
verify_ssl = false
name = "local"

[packages]
here = "*"
windows = {version = "*", markers = "sys_platform == 'win32'"}
TOML
../tool/bin/pipenv lock > ../log 2>&1 || { cat ../log; exit 1; }
python3 -c '
import json
for name, entry in json.load(open("Pipfile.lock"))["default"].items():
    print(name, entry["version"], entry.get("markers"), len(entry.get("hashes", ())), "digests")
'
