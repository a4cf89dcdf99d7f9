#!/usr/bin/env bash
# A release has five wheels, each for another platform, and the JSON page of the index has the sha256 of each.
# pip-compile of pip-tools 7.6.2 pins the release with --generate-hashes.
#
# Guess: pip-compile takes the digests from the page, as pip, uv, Poetry and PDM do, and fetches no wheel but
# the one of this machine, at most.
# Seen: it fetches all five, for their digests alone. First it asks for NAME/json beside simple/: not for
# pypi/NAME/json, where PyPI's JSON API is. If the index has that document there, with the addresses that its
# page has, pip-compile fetches no wheel. So for a release of some GB, one such document saves them.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check pip-tools==7.6.2 pip==26.3
unset PIP_FIND_LINKS

cat > serve.py <<'PY'
import hashlib, http.server, io, json, sys, zipfile

info = "here-1.0.dist-info"
metadata = "Metadata-Version: 2.1\nName: here\nVersion: 1.0\n"
files = {}
for tag in ("py3-none-any", "cp311-cp311-win_amd64", "cp312-cp312-win_amd64", "cp313-cp313-win_amd64", "cp314-cp314-win_amd64"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    files[f"here-1.0-{tag}.whl"] = packed.getvalue()
digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
page = {
    "meta": {"api-version": "1.0"}, "name": "here",
    "files": [
        {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest},
         "core-metadata": {"sha256": hashlib.sha256(metadata.encode()).hexdigest()}}
        for name, digest in digests.items()
    ],
}
port = int(sys.argv[1])
releases = {
    "1.0": [
        {"url": f"http://127.0.0.1:{port}/with/files/{name}", "packagetype": "bdist_wheel", "digests": {"sha256": digest}}
        for name, digest in digests.items()
    ]
}


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        base, _, path = self.path[1:].partition("/")
        name = path.removeprefix("files/")
        if path == "simple/here/":
            body, kind = json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json"
        elif path == "here/json" and base == "with":
            body, kind = json.dumps({"releases": releases}).encode(), "application/json"
        elif name.endswith(".metadata"):
            body, kind = metadata.encode(), "application/octet-stream"
        elif name in files:
            body, kind = files[name], "application/octet-stream"
        else:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Index).serve_forever()
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 serve.py "$port" > asked & server=$!
for _ in $(seq 100); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null && break; sleep 0.1; done

tool/bin/pip-compile --version
echo here > requirements.in
for base in without with; do
    rm -f requirements.txt
    tool/bin/pip-compile -q --no-config --generate-hashes --cache-dir "cache-$base" --no-emit-index-url \
        --index-url "http://127.0.0.1:$port/$base/simple/" -o requirements.txt requirements.in 2> log || { cat log; exit 1; }
    echo "$base that document: $(grep -c -- --hash= requirements.txt) digests, $(grep -c "^/$base/.*\.whl$" asked || true) wheels fetched, asked for $(grep "^/$base/.*json" asked | sort -u)"
done | tee seen
diff seen - <<'TXT'
without that document: 5 digests, 5 wheels fetched, asked for /without/here/json
with that document: 5 digests, 0 wheels fetched, asked for /with/here/json
TXT
