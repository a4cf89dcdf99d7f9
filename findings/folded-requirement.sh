#!/usr/bin/env bash
# A tool edits the METADATA of a wheel with Python's own email package, by which core metadata is defined, and
# writes it with as_bytes(). That folds the long line of a requirement at its ";" into two lines. pip 26.3,
# uv 0.13.9, Poetry 2.5.1 and PDM 2.29.4 read it, and "twine check" of twine 7.0.0.
#
# Guess: as_bytes() folds as little as as_string() does; and if it folded, all would read one requirement.
# Seen: as_string() does not fold, as_bytes() does. uv and Poetry read one requirement. For pip and PDM, the
# project has no version that can be installed, and twine calls the metadata invalid. So whoever rewrites
# metadata writes as_string(); and that uv can install a wheel does not mean that pip can.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache POETRY_VIRTUALENVS_IN_PROJECT=true
export PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring PDM_CHECK_UPDATE=false
make() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
make tool pip==26.3 uv==0.13.9 twine==7.0.0
make poetry poetry==2.5.1
make pdm pdm==2.29.4 "hishel[httpx2]==1.4.0"
unset PIP_FIND_LINKS UV_FIND_LINKS

python3 - <<'PY'
import email, hashlib, pathlib, zipfile

needs = "Requires-Dist: needed-by-here[one-extra]>=1.0; python_version >= '3.8' and implementation_name == 'cpython'\n"
extra = "Provides-Extra: one-extra\n"
for name, more in (("here", needs), ("needed-by-here", extra)):
    start = name.replace("-", "_") + "-1.0"
    metadata = email.message_from_string(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{more}\n")
    if name == "here":
        lines = [len(text.splitlines()) - 4 for text in (metadata.as_string(), metadata.as_bytes().decode())]
        print("lines of the requirement: as_string() %d, as_bytes() %d" % tuple(lines), flush=True)
    members = {
        f"{name}.py": b"",
        f"{start}.dist-info/METADATA": metadata.as_bytes(),
        f"{start}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{start}.dist-info/RECORD"
    members[record] = "".join(f"{member},,\n" for member in [*members, record]).encode()
    folder = pathlib.Path("index/simple", name)
    folder.mkdir(parents=True)
    wheel = folder / f"{start}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory index > /dev/null 2>&1 & server=$!
for _ in $(seq 100); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null && break; sleep 0.1; done
index=http://127.0.0.1:$port/simple/

mkdir project; cat > project/pyproject.toml <<TOML
[project]
name = "application"
version = "0"
requires-python = ">=3.11"
dependencies = ["here"]
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
TOML
resolve() { # a client
    case $1 in
    twine) tool/bin/twine check --strict index/simple/here/*.whl ;;
    pip) tool/bin/pip --isolated install -q --disable-pip-version-check --dry-run --ignore-installed --index-url "$index" --report - here ;;
    uv) echo here | tool/bin/uv pip compile -q --no-config --default-index "$index" - ;;
    poetry) poetry/bin/poetry -C project lock && cat project/poetry.lock ;;
    pdm) pdm/bin/pdm lock -p project && cat project/pdm.lock ;;
    esac
}
{
    for client in twine pip uv poetry pdm; do
        if ! NO_COLOR=1 resolve $client > log 2>&1; then
            echo "$client: $(grep -oE 'No matching distribution|InvalidDistribution|Unable to find a resolution' log | tail -n 1)"
        else echo "$client: $(grep -oE 'needed-by-here' log | sort -u) is required"; fi
    done
} | tee seen
diff seen - <<'TXT'
twine: InvalidDistribution
pip: No matching distribution
uv: needed-by-here is required
poetry: needed-by-here is required
pdm: Unable to find a resolution
TXT
