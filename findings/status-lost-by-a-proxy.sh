#!/usr/bin/env bash
# An index has a project of which the page says that it is archived, and why (version 1.4 of the simple
# API), with the address of each file's attestations. simple-repository-server 0.10.0 stands before it.
#
# Guess: its page says the same. If it did not know the status, it would state an older version.
# Seen: its page states version 1.4 and has neither the status nor the attestations, in JSON and in
# HTML. A client takes the project for an active one. Its list of versions has another order in each
# process, so two servers give different bytes for one page. So what a page states as its version tells
# nothing of what may be missing there.
set -euo pipefail
where=$(mktemp -d); trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$where"' EXIT
cd "$where"
python3 -m venv simple && simple/bin/python -m pip install -q --disable-pip-version-check simple-repository-server==0.10.0 simple-repository==0.11.1
cat > serve.py <<'PY'
import http.server, json, sys

files = [
    {"filename": f"here-{version}.tar.gz", "url": f"here-{version}.tar.gz", "hashes": {"sha256": "0" * 64},
     "size": 1, "provenance": f"http://127.0.0.1/here-{version}.tar.gz/provenance"}
    for version in ("1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0", "8.0")
]
page = {
    "meta": {"api-version": "1.4"}, "name": "here", "files": files,
    "versions": [file["filename"][5:8] for file in files],
    "project-status": {"status": "archived", "reason": "no longer maintained"},
}


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Index).serve_forever()
PY
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
up() { for _ in $(seq 600); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $1))" 2> /dev/null && return; sleep 0.1; done; exit 1; }
index=$(free); python3 serve.py "$index" & up "$index"
ports=()
for seed in 1 2; do
    port=$(free); PYTHONHASHSEED=$seed simple/bin/simple-repository-server --port "$port" "http://127.0.0.1:$index/simple/" > /dev/null 2>&1 &
    up "$port"; ports+=("$port")
done
python3 - "${ports[@]}" <<'PY'
import json, sys, urllib.request


def ask(port, kind):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/simple/here/", headers={"Accept": kind})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


pages = [json.loads(ask(port, "application/vnd.pypi.simple.v1+json")) for port in sys.argv[1:]]
html = ask(sys.argv[1], "text/html")
print("simple-repository-server 0.10.0 states version", pages[0]["meta"]["api-version"])
print("status:", pages[0].get("project-status", pages[0]["meta"].get("project-status")))
print("attestations:", [file.get("provenance") for file in pages[0]["files"]][:1])
print("versions:", *(page["versions"] for page in pages), sep="\n  ")
assert pages[0]["meta"]["api-version"] == "1.4" and 'content="1.4"' in html, "that has changed"
assert "archived" not in json.dumps(pages) + html and "provenance" not in json.dumps(pages) + html, "that has changed"
assert pages[0]["versions"] != pages[1]["versions"], "that has changed"
PY
