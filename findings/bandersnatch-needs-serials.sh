#!/usr/bin/env bash
# bandersnatch 8.2 mirrors an index whose JSON list has no serials, as the specification allows.
#
# Guess: it mirrors the project, or fails with an error.
# Seen: it warns of a "malformed project entry", mirrors nothing and exits with 0. So an index for
# bandersnatch needs a `_last-serial` for each project, though no specification has that key. And its
# exit code 0 does not mean that it has mirrored anything.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"
for candidate in python3.14 python3.13 python3.12; do
    "$candidate" -c "" 2> /dev/null && python=$candidate && break
done
"${python:?needs Python 3.12 or newer}" -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check bandersnatch==8.2.0

cat > index.py <<'PY'
import http.server, json, sys

rows = [{"name": "thing"} | ({"_last-serial": 7} if sys.argv[1] == "with" else {})]
listing = json.dumps({"meta": {"api-version": "1.1", "_last-serial": 7}, "projects": rows}).encode()
project = json.dumps({"info": {"name": "thing"}, "last_serial": 7, "releases": {"1.0": []}, "urls": []}).encode()

class Index(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        print("asked for", self.path, file=sys.stderr, flush=True)
        body = {"/simple": listing, "/pypi/thing/json": project}.get(self.path.rstrip("/"))
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json" if self.path.startswith("/simple") else "application/json")
        self.send_header("X-PyPI-Last-Serial", "7")
        self.end_headers()
        self.wfile.write(body or b"")

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
mkfifo port
seen=
for serials in with without; do
    python3 index.py "$serials" > port 2> "asked-$serials" & server=$!; read -r port < port
    mkdir -p "mirror-$serials"
    printf '[mirror]\ndirectory = %s\nmaster = http://127.0.0.1:%s\nallow-non-https = true\njson = true\nworkers = 1\nhash-index = false\nstop-on-error = false\ntimeout = 10\nverifiers = 1\n' \
        "$where/mirror-$serials" "$port" > "$serials.conf"
    code=0; venv/bin/bandersnatch -c "$serials.conf" mirror > "log-$serials" 2>&1 || code=$?
    kill "$server"; server=
    page=$([ -e "mirror-$serials/web/simple/thing/index.html" ] && echo "a page" || echo "no page")
    echo "bandersnatch 8.2.0, list $serials serials: exit $code, $page"
    grep -h "asked for" "asked-$serials" | sort -u | sed 's/^/    /'
    { grep -ho "Skipping malformed project entry in simple index: .*" "log-$serials" || true; } | sed 's/^/    /'
    seen="$seen$serials: $code, $page; "
done
[ "$seen" = "with: 0, a page; without: 0, no page; " ] || { echo "that has changed"; cat log-*; exit 1; }
