#!/usr/bin/env bash
# Many teams install only files that are a week old, with pip's --uploaded-prior-to or uv's
# --exclude-newer. Here the index has upload times, and a caching proxy stands before it: devpi-server
# 6.20.3, proxpi 1.3.1, or simple-repository-server 0.10.0. pip 26.3, uv 0.13.9.
#
# Guess: the limit works through every proxy that speaks the JSON form of the simple API.
# Seen: only through simple-repository-server. The two others read the JSON page and write one of their
# own, without upload times; devpi-server drops sizes and the hashes of core metadata as well. pip then
# refuses the project with an error. uv says that the file is newer than the limit, whatever the limit.
set -euo pipefail
where=$(mktemp -d); trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
make() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
make tool pip==26.3 uv==0.13.9
make devpi devpi-server==6.20.3
make proxpi proxpi==1.3.1
make simple simple-repository-server==0.10.0
cat > serve.py <<'PY'
import hashlib, http.server, io, json, sys, zipfile

info = "here-1.0.dist-info"
metadata = "Metadata-Version: 2.1\nName: here\nVersion: 1.0\n"
members = {
    "here.py": "",
    f"{info}/METADATA": metadata,
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
members[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w") as archive:
    for name, text in members.items():
        archive.writestr(name, text)
wheel, file = packed.getvalue(), "here-1.0-py3-none-any.whl"
entry = {
    "filename": file, "url": file, "size": len(wheel), "upload-time": "2026-01-01T00:00:00Z",
    "hashes": {"sha256": hashlib.sha256(wheel).hexdigest()}, "requires-python": ">=3.8",
    "core-metadata": {"sha256": hashlib.sha256(metadata.encode()).hexdigest()},
}
page = {"meta": {"api-version": "1.1"}, "name": "here", "versions": ["1.0"], "files": [entry]}
root = {"meta": {"api-version": "1.1"}, "projects": [{"name": "here"}]}
JSON = "application/vnd.pypi.simple.v1+json"
answers = {
    "/simple/": (json.dumps(root).encode(), JSON),
    "/simple/here/": (json.dumps(page).encode(), JSON),
    f"/simple/here/{file}": (wheel, "application/octet-stream"),
    f"/simple/here/{file}.metadata": (metadata.encode(), "application/octet-stream"),
}


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body, kind = answers.get(self.path, (None, ""))
        if body is None:
            return self.send_error(404)
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
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
up() { for _ in $(seq 600); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $1))" 2> /dev/null && return; sleep 0.1; done; exit 1; }
index=$(free); python3 serve.py "$index" & up "$index"
upstream=http://127.0.0.1:$index/simple/
a=$(free); PROXPI_INDEX_URL=$upstream FLASK_APP=proxpi.server proxpi/bin/flask run --port "$a" > /dev/null 2>&1 & up "$a"
b=$(free); simple/bin/simple-repository-server --port "$b" "$upstream" > /dev/null 2>&1 & up "$b"
c=$(free); devpi/bin/devpi-init --serverdir state --no-root-pypi > /dev/null 2>&1
devpi/bin/devpi-server --serverdir state --port "$c" > /dev/null 2>&1 & up "$c"
user=root  # devpi-server's first user
python3 - "$c" "$upstream" "$user" <<'PY'
import base64, json, sys, urllib.request

port, upstream, user = sys.argv[1:]


def send(method, path, document, headers):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(document).encode(),
        {"Content-Type": "application/json", **headers}, method=method,
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


password = send("POST", "/+login", {"user": user, "password": ""}, {})["result"]["password"]
login = base64.b64encode(f"{user}:{password}".encode()).decode()
send("PUT", f"/{user}/m", {"type": "mirror", "mirror_url": upstream}, {"X-Devpi-Auth": login})
PY
why='does not provide upload-time|filtered by `exclude-newer`'
said() { if "$@" > log 2>&1; then echo installs; else grep -oE "$why" log | head -n 1 | grep . || { echo fails; cat log >&2; }; fi; }
for proxy in "none $upstream" "simple-repository-server http://127.0.0.1:$b/simple/" \
    "proxpi http://127.0.0.1:$a/index/" "devpi-server http://127.0.0.1:$c/$user/m/+simple/"; do
    set -- $proxy
    rm -rf by-pip by-uv cache; python3 -m venv --without-pip by-pip; python3 -m venv --without-pip by-uv
    echo "$1: pip $(said tool/bin/pip --isolated --python by-pip install --uploaded-prior-to 2026-06-01T00:00:00Z --index-url "$2" here)," \
        "uv $(said tool/bin/uv pip install --no-config --no-cache --python by-uv --exclude-newer 2026-06-01 --default-index "$2" here)"
done | tee seen
cat > expected <<'TXT'
none: pip installs, uv installs
simple-repository-server: pip installs, uv installs
proxpi: pip does not provide upload-time, uv filtered by `exclude-newer`
devpi-server: pip does not provide upload-time, uv filtered by `exclude-newer`
TXT
cmp seen expected || { echo "that has changed"; exit 1; }
