#!/usr/bin/env bash
# An index answers GET, and has no core metadata apart from its wheels. It does not know HEAD, and says so
# with one of the codes that servers use for this: 405, 403 (as a signed address of S3), 404, or 501,
# which HTTP names for a method that a server does not know, and which Python's http.server sends.
#
# Guess: uv 0.13.9 asks with HEAD whether it can read a part of a wheel. If not, it fetches the whole.
# Seen: so it does after 400, 403, 404 and 405. After 501 it repeats HEAD three times and fails, though GET
# works. pip 26.3 sends no HEAD. So a server for packages must know HEAD, or refuse it with 405.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check pip==26.3 uv==0.13.9
cat > serve.py <<'PY'
import hashlib, http.server, io, json, sys, zipfile

info = "here-1.0.dist-info"
members = {
    "here.py": "",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: here\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
members[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w") as archive:
    for name, text in members.items():
        archive.writestr(name, text)
wheel, file = packed.getvalue(), "here-1.0-py3-none-any.whl"
hashes = {"sha256": hashlib.sha256(wheel).hexdigest()}


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = {"meta": {"api-version": "1.0"}, "name": "here",
                "files": [{"filename": file, "url": file, "hashes": hashes}]}
        is_file = self.path.endswith(".whl")
        body = wheel if is_file else json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if is_file else "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Index).serve_forever()
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 serve.py "$port" & server=$!
until python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null; do sleep 0.1; done
said() { if "$@" > log 2>&1; then echo installs; else grep -oE 'HTTP status [a-z]+ error \([0-9]+' log | grep -oE '[0-9]+' | head -n 1 | grep . || echo fails; fi; }
seen=
for code in 400 403 404 405 501; do
    index=http://127.0.0.1:$port/$code/simple/
    rm -rf by-pip by-uv; python3 -m venv --without-pip by-pip; python3 -m venv --without-pip by-uv
    seen+="$code: pip $(said tool/bin/pip --isolated --python by-pip install --index-url "$index" here), "
    seen+="uv $(said tool/bin/uv pip install --no-config --no-cache --python by-uv --default-index "$index" here); "
done
echo "pip 26.3, uv 0.13.9; HEAD is answered with each code, GET with 200"
echo "$seen"
both="pip installs, uv installs; "
[ "$seen" = "400: ${both}403: ${both}404: ${both}405: ${both}501: pip installs, uv 501; " ] ||
    { echo "that has changed"; exit 1; }
