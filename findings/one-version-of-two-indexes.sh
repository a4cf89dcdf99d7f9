#!/usr/bin/env bash
# Two indexes have the same version of a project, built twice: other bytes, another digest on the page, another
# requirement. A test index and the real one may be such a pair. One machine locks an application against the
# first, and then a new one against the second. pip 26.3, uv 0.13.9, Poetry 2.5.1 and PDM 2.29.4 have their
# caches on.
#
# Guess: caches know a file by its address or its digest, so the second lock has what the second index says.
# Seen: so it is with pip and uv. PDM caches requirements by name and version alone: its second lock has the digest
# of the second file, and the requirement of the first. Poetry caches them by the name of the source, with the
# digests: all of its second lock is about the first index, and "poetry install" refuses the file. So whoever
# builds a release again gives it a version of its own, and whoever changes the index clears these caches.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache POETRY_VIRTUALENVS_IN_PROJECT=true
export PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring PDM_CHECK_UPDATE=false
make() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
make tool pip==26.3 uv==0.13.9
make poetry poetry==2.5.1
make pdm pdm==2.29.4 "hishel[httpx2]==1.4.0"
unset PIP_FIND_LINKS UV_FIND_LINKS

python3 - <<'PY'
import hashlib, pathlib, zipfile

for index in ("first", "second"):
    for name, needs in (("here", f"Requires-Dist: for-{index}\n"), ("for-first", ""), ("for-second", "")):
        start = name.replace("-", "_") + "-1.0"
        members = {
            f"{start}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
            f"{start}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = f"{start}.dist-info/RECORD"
        members[record] = "".join(f"{member},,\n" for member in [*members, record])
        folder = pathlib.Path("indexes", index, "simple", name)
        folder.mkdir(parents=True)
        wheel = folder / f"{start}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for member, text in members.items():
                archive.writestr(zipfile.ZipInfo(member), text)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
        if name == "here":
            pathlib.Path(f"digest-{index}").write_text(digest)
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory indexes > /dev/null 2>&1 & server=$!
for _ in $(seq 100); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null && break; sleep 0.1; done

resolve() { # a client, and the address of the index
    case $1 in
    pip) tool/bin/pip --isolated install -q --disable-pip-version-check --dry-run --ignore-installed --report - --index-url "$2" here ;;
    uv) echo here | tool/bin/uv pip compile -q --no-config --generate-hashes --default-index "$2" - ;;
    poetry) poetry/bin/poetry -C project lock && cat project/poetry.lock ;;
    pdm) pdm/bin/pdm lock -p project && cat project/pdm.lock ;;
    esac
}
for which in first second; do
    index=http://127.0.0.1:$port/$which/simple/
    rm -rf project; mkdir project; cat > project/pyproject.toml <<TOML
[project]
name = "application"
version = "0"
requires-python = ">=3.11"
dependencies = ["here"]
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "company"
url = "$index"
priority = "primary"
[tool.pdm]
distribution = false
[[tool.pdm.source]]
name = "pypi"
url = "$index"
TOML
    for client in pip uv poetry pdm; do
        resolve $client "$index" > log 2>&1 || { cat log; exit 1; }
        digest=neither; for each in first second; do if grep -q "$(cat digest-$each)" log; then digest=$each; fi; done
        echo "$which index, $client: $(grep -oE 'for-(first|second)' log | sort -u | xargs), the digest of the $digest"
    done
done | tee seen
if poetry/bin/poetry -C project install > log 2>&1; then echo "poetry installs it"
else echo "poetry: $(grep -o 'did not match any known checksums' log)"; fi | tee -a seen
diff seen - <<'TXT'
first index, pip: for-first, the digest of the first
first index, uv: for-first, the digest of the first
first index, poetry: for-first, the digest of the first
first index, pdm: for-first, the digest of the first
second index, pip: for-second, the digest of the second
second index, uv: for-second, the digest of the second
second index, poetry: for-first, the digest of the first
second index, pdm: for-first, the digest of the second
poetry: did not match any known checksums
TXT
