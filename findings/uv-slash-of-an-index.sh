#!/usr/bin/env bash
# uv locks against an index, and then is asked whether that lock still holds. Between the two, the
# address of the index lost the slash at its end. pip and the simple API take both for one index.
#
# Guess: "uv sync --locked" passes, since the address means the same index.
# Seen: uv takes them for two indexes, and refuses the lock. With "--frozen" it does not look.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where UV_CACHE_DIR=$where/cache UV_NO_CONFIG=1 UV_PYTHON_DOWNLOADS=never
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9
unset UV_INDEX UV_DEFAULT_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_FIND_LINKS PIP_FIND_LINKS VIRTUAL_ENV

python3 - <<'PY'
import pathlib, zipfile

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
(folder / "index.html").write_text(f'<!DOCTYPE html><a href="{file}">{file}</a>')
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory index > /dev/null 2>&1 & server=$!
index=http://127.0.0.1:$port/simple

mkdir project; cd project
printf '[project]\nname = "app"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = ["here"]\n' > pyproject.toml
../tool/bin/uv --version | cut -d" " -f1,2
../tool/bin/uv lock -q --default-index "$index/"
check() { # what it is called, then the arguments of uv sync
    name=$1; shift
    if ../tool/bin/uv sync -q "$@" > ../log 2>&1; then echo "$name: passes"; else echo "$name: refused"; fi
}
same=$(check "with the slash" --locked --default-index "$index/")
other=$(check "without the slash" --locked --default-index "$index")
frozen=$(check "without the slash, frozen" --frozen --default-index "$index")
printf '%s\n' "$same" "$other" "$frozen"
[ "$same" = "with the slash: passes" ] && [ "$other" = "without the slash: refused" ]
[ "$frozen" = "without the slash, frozen: passes" ]
