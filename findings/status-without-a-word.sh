#!/usr/bin/env bash
# JSON pages tell the status of three projects, and why (version 1.4 of the simple API): one is archived,
# one deprecated, and one quarantined, so that it has no files. Installers may warn of a status; the API
# has it for that. pip 26.3 and uv 0.13.9 install all three.
#
# Guess: they warn of "archived" and "deprecated". For the third, they say that it is in quarantine.
# Seen: neither says a word of a status or of its reason. A project in quarantine looks like a name that
# was spelled wrong. So people learn of it only if a mirror tells them, on its pages or at the sync.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check pip==26.3 uv==0.13.9

cat > serve.py <<'PY'
import io, json, sys, zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def wheel(name):
    info, content = f"{name}-1.0.dist-info", io.BytesIO()
    members = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(content, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return content.getvalue()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, *rest = self.path.strip("/").split("/")[1:]
        kind, content = "application/octet-stream", wheel(name)
        if not rest:
            file = f"{name}-1.0-py3-none-any.whl"
            files = [{"filename": file, "url": file, "hashes": {}, "size": len(content)}]
            page = {"meta": {"api-version": "1.4"}, "name": name, "versions": ["1.0"]}
            page["project-status"] = {"status": name, "reason": "Use the successor."}
            page["files"] = [] if name == "quarantined" else files
            kind, content = "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self):
        self.send_error(405)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 serve.py "$port" > /dev/null 2>&1 & server=$!

export PIP_NO_INDEX= PIP_FIND_LINKS=
index=http://127.0.0.1:$port/simple/
python3 -m venv target
says() {
    if "${@:2}" > log 2>&1; then end=installed; else end=failed; fi
    told=$(grep -ci "successor\|status\|quarantine \|is archived\|is deprecated" log || true)
    echo "$1: $end, $told lines on its status"
}
for name in archived deprecated quarantined; do
    says "$name, pip" tool/bin/pip --python target/bin/python install -v --no-cache-dir --index-url "$index" "$name"
    says "$name, uv" tool/bin/uv pip install -v -p target --reinstall --no-cache --default-index "$index" "$name"
done | tee seen
diff seen - <<'TXT'
archived, pip: installed, 0 lines on its status
archived, uv: installed, 0 lines on its status
deprecated, pip: installed, 0 lines on its status
deprecated, uv: installed, 0 lines on its status
quarantined, pip: failed, 0 lines on its status
quarantined, uv: failed, 0 lines on its status
TXT
