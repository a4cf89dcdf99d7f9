#!/usr/bin/env bash
# A JSON page has two hashes of its file: sha256, and blake2b as Python's hashlib computes it, of 64
# bytes. The simple API allows every algorithm of hashlib, and tells clients to ignore others.
#
# Guess: pip 26.3 and uv 0.13.9 install the file. They check the sha256, or both hashes.
# Seen: pip installs it. uv refuses the whole page as "unexpected JSON": it takes blake2b for a hash of
# 32 bytes. So a mirror that passes such a hash on makes a project unusable for uv, and one that drops
# it must do so on its pages only, since the hash is a good proof of the bytes.
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
hashes = {"sha256": hashlib.sha256(wheel).hexdigest(), "blake2b": hashlib.blake2b(wheel).hexdigest()}


class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, kind, *_, = self.path.split("/")
        given = hashes if kind == "both" else {"sha256": hashes["sha256"]}
        page = {"meta": {"api-version": "1.0"}, "name": "here",
                "files": [{"filename": file, "url": file, "hashes": given}]}
        is_file = self.path.endswith(".whl")
        body = wheel if is_file else json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if is_file else "application/vnd.pypi.simple.v1+json")
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
python3 serve.py "$port" & server=$!
until python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null; do sleep 0.1; done
said() { if "$@" > log 2>&1; then echo installs; else grep -oE 'unexpected JSON|Invalid hash digest length' log | sort -u | paste -sd, | grep . || echo fails; fi; }
seen=
for kind in one both; do
    index=http://127.0.0.1:$port/$kind/simple/
    rm -rf by-pip by-uv; python3 -m venv --without-pip by-pip; python3 -m venv --without-pip by-uv
    seen+="$kind: pip $(said tool/bin/pip --isolated --python by-pip install --index-url "$index" here), "
    seen+="uv $(said tool/bin/uv pip install --no-config --no-cache --python by-uv --default-index "$index" here); "
done
echo "pip 26.3, uv 0.13.9; a page with sha256 alone, and with blake2b beside it"
echo "$seen"
[ "$seen" = "one: pip installs, uv installs; both: pip installs, uv Invalid hash digest length,unexpected JSON; " ] ||
    { echo "that has changed"; exit 1; }
