#!/usr/bin/env bash
# A caching proxy cannot reach the index behind it, and says so for the page of a project: 502 (the index
# gave no usable answer), 503 (try again later), or 504 (the index took too long). Asked again, it has the
# page. pip 26.3 and uv 0.13.9 install the project.
#
# Guess: pip tries all three again, as all three are faults of a server that may pass.
# Seen: pip tries 502 and 503 again, and waits as long as Retry-After says. After 504 it asks nothing more and
# says that no version of the project exists. uv tries all three again. So a proxy that waits for a slow
# index should answer 503.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check pip==26.3 uv==0.13.9

cat > serve.py <<'PY'
import io, sys, zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE, INFO = "patient-1.0-py3-none-any.whl", "patient-1.0.dist-info"
members = {
    "patient.py": "",
    f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: patient\nVersion: 1.0\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
members[f"{INFO}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{INFO}/RECORD"])
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, "w") as archive:
    for member, text in members.items():
        archive.writestr(member, text)
asked = set()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):  # /<client>-<status>/patient/, and the file below it
        place = self.path.split("/")[1]
        status, kind, content = 200, "application/octet-stream", wheel.getvalue()
        if not self.path.endswith(FILE):
            kind, content = "text/html", f'<!DOCTYPE html><a href="{FILE}">{FILE}</a>'.encode()
            if place not in asked:
                asked.add(place)
                status = int(place.partition("-")[2])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status != 200:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self):
        self.send_error(405)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 serve.py "$port" > /dev/null 2>&1 & server=$!

export PIP_NO_INDEX= PIP_FIND_LINKS=
python3 -m venv target
says() { if "${@:2}" > log 2>&1; then echo "$1: ok"; else echo "$1: $(grep -oi 'from versions: none\|status.*' log | head -n 1)"; fi; }
for status in 502 503 504; do
    says "$status, pip" tool/bin/pip --python target/bin/python install --no-cache-dir --force-reinstall \
        --index-url "http://127.0.0.1:$port/pip-$status/" patient
    says "$status, uv" tool/bin/uv pip install -p target --reinstall --no-cache \
        --default-index "http://127.0.0.1:$port/uv-$status/" patient
done | tee seen
diff seen - <<'TXT'
502, pip: ok
502, uv: ok
503, pip: ok
503, uv: ok
504, pip: from versions: none
504, uv: ok
TXT
