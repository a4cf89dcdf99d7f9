#!/usr/bin/env bash
# A release has only an sdist. Its core metadata is complete (version 2.4, nothing "Dynamic"), and the JSON page
# offers it as a file of its own, as indexes do for wheels. The simple API allows it for every file whose
# metadata no build changes. pip 26.3, uv 0.13.9, Poetry 2.5.1 and PDM 2.29.4 resolve what the project needs.
#
# Guess: they know this key for wheels only. They fetch the sdist, and build its metadata, or read its PKG-INFO.
# Seen: pip, Poetry and PDM take the metadata from the index: they neither fetch the sdist nor need its build
# backend, which does not even exist here. Only uv fetches the sdist, and reads its PKG-INFO. So a mirror that
# offers the metadata of such sdists spares its clients a download and a build for each version they look at.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache POETRY_VIRTUALENVS_IN_PROJECT=true
export PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring PDM_CHECK_UPDATE=false
make() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
make tool pip==26.3 uv==0.13.9
make poetry poetry==2.5.1
make pdm pdm==2.29.4 "hishel[httpx2]==1.4.0"
unset PIP_FIND_LINKS UV_FIND_LINKS

cat > serve.py <<'PY'
import hashlib, http.server, io, json, sys, tarfile

top, file = "here-1.0", "here-1.0.tar.gz"
metadata = "Metadata-Version: 2.4\nName: here\nVersion: 1.0\nRequires-Python: >=3.8\n"
project = '[build-system]\nrequires = ["absent"]\nbuild-backend = "absent"\n[project]\nname = "here"\nversion = "1.0"\n'
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz") as archive:
    for name, text in {"PKG-INFO": metadata, "here.py": "", "pyproject.toml": project}.items():
        member = tarfile.TarInfo(f"{top}/{name}")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
digest = lambda body: {"sha256": hashlib.sha256(body).hexdigest()}
entry = {
    "filename": file, "url": file, "size": len(packed.getvalue()), "requires-python": ">=3.8",
    "hashes": digest(packed.getvalue()), "core-metadata": digest(metadata.encode()),
}
page = {"meta": {"api-version": "1.1"}, "name": "here", "versions": ["1.0"], "files": [entry]}
answers = {
    "": (json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json"),
    file: (packed.getvalue(), "application/octet-stream"),
    f"{file}.metadata": (metadata.encode(), "application/octet-stream"),
}


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        base, _, name = self.path.partition("/simple/here/")
        body, kind = answers.get(name, (None, ""))
        if body is None or not base:
            return self.send_error(404)
        print(base[1:], name or "page", flush=True)
        self.send_response(200)
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
python3 serve.py "$port" > asked & server=$!
for _ in $(seq 100); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null && break; sleep 0.1; done

resolve() { # a client
    index=http://127.0.0.1:$port/$1/simple/
    mkdir -p "$1-project"
    cat > "$1-project/pyproject.toml" <<TOML
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
    case $1 in
    pip) tool/bin/pip --isolated install -q --disable-pip-version-check --dry-run --ignore-installed --index-url "$index" --report - here ;;
    uv) echo here | tool/bin/uv pip compile -q --no-config --default-index "$index" - ;;
    poetry) poetry/bin/poetry -C poetry-project lock && cat poetry-project/poetry.lock ;;
    pdm) pdm/bin/pdm lock -p pdm-project && cat pdm-project/pdm.lock ;;
    esac > "log-$1" 2>&1 || { cat "log-$1"; exit 1; }
    grep -q here "log-$1"
}
for client in pip poetry pdm uv; do
    resolve $client
    echo "$client asked for: $(sed -n "s/^$client //p" asked | sort -u | xargs)"
done | tee seen
diff seen - <<'TXT'
pip asked for: here-1.0.tar.gz.metadata page
poetry asked for: here-1.0.tar.gz.metadata page
pdm asked for: here-1.0.tar.gz.metadata page
uv asked for: here-1.0.tar.gz page
TXT
