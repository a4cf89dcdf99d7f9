#!/usr/bin/env bash
# A project page says that it has version 2.0 of the simple API, which does not exist yet. The
# specification says that clients must fail at a major version that they do not know.
#
# Guess: pip and uv refuse the page, JSON or HTML.
# Seen: neither checks the version. Both install from it, in both forms, without a warning. So only a
# mirror in front of them can notice that it does not know this format.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export XDG_CACHE_HOME=$where/cache HOME=$where
tool() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
tool pip pip==26.3; tool uv uv==0.13.9

cat > index.py <<'PY'
import hashlib, http.server, io, json, zipfile

info = "thing-1.0.dist-info"
members = {
    "thing.py": "",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
data = io.BytesIO()
with zipfile.ZipFile(data, "w") as archive:
    for name, text in members.items():
        archive.writestr(zipfile.ZipInfo(name), text)
name, digest = "thing-1.0-py3-none-any.whl", hashlib.sha256(data.getvalue()).hexdigest()
answers = {
    f"/files/{name}": ("application/octet-stream", data.getvalue()),
    "/json/thing/": ("application/vnd.pypi.simple.v1+json", json.dumps({
        "meta": {"api-version": "2.0"}, "name": "thing", "versions": ["1.0"], "files": [
            {"filename": name, "url": f"/files/{name}", "size": len(data.getvalue()),
             "hashes": {"sha256": digest}}]}).encode()),
    "/html/thing/": ("text/html", f"""<!DOCTYPE html><html><head>
        <meta name="pypi:repository-version" content="2.0"></head>
        <body><a href="/files/{name}#sha256={digest}">{name}</a></body></html>""".encode()),
}

class Index(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        kind, body = answers.get(self.path, ("text/plain", b""))
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
mkfifo port; python3 index.py > port & server=$!; read -r port < port

seen=
for form in json html; do
    index=http://127.0.0.1:$port/$form/
    pip/bin/pip --isolated download --no-deps --no-cache-dir -d "pip-$form" --index-url "$index" thing > log 2>&1 || true
    warned=$(grep -ciE 'warn|version 2' log || true)
    seen+="$form: pip $(ls "pip-$form" 2> /dev/null | wc -l) file, $warned warnings; "
    uv/bin/uv pip install --no-config --no-cache --no-deps --target "uv-$form" --default-index "$index" thing > log 2>&1 || true
    warned=$(grep -ciE 'warn|version 2' log || true)
    seen+="uv $(ls "uv-$form" 2> /dev/null | grep -c '^thing\.py$') file, $warned warnings; "
done
echo "pip 26.3, uv 0.13.9; a page of API version 2.0"
echo "$seen"
[ "$seen" = "json: pip 1 file, 0 warnings; uv 1 file, 0 warnings; html: pip 1 file, 0 warnings; uv 1 file, 0 warnings; " ] || { echo "that has changed"; exit 1; }
