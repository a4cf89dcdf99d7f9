#!/usr/bin/env bash
# An index gives a file the upload time 9999-12-31T00:00:00Z. This is a valid time of RFC 3339, as the
# standard of JSON pages requires; some programs use the last year for "never". Another file of the
# project has a normal time. pip 26.3 and uv 0.13.9 install the project.
#
# Guess: both install the newest file, and ignore the odd time at most.
# Seen: pip installs it. uv refuses the whole page, although nobody asked for a date: its largest time
# is 9999-12-30 at 22:00 UTC, so the time of one file makes the project unusable. Up to that moment, uv
# accepts the time.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
unset ${!PIP_*} ${!UV_*}
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check pip==26.3 uv==0.13.9
export PATH=$where/venv/bin:$PATH

cat > index.py <<'PY'
import http.server, io, json, zipfile

def wheel(version):
    info = f"thing-{version}.dist-info"
    members = {
        "thing.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return raw.getvalue()

TIMES = {"late": "9999-12-31T00:00:00Z", "edge": "9999-12-30T21:59:59Z"}

class Index(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        _, which, *rest = self.path.split("/")
        if self.path.endswith(".whl"):
            body, kind = wheel(self.path.split("-")[1]), "application/octet-stream"
        else:
            times = {"1.0": "2026-11-29T00:00:00Z", "2.0": TIMES[which]}
            files = [{"filename": f"thing-{v}-py3-none-any.whl", "url": f"thing-{v}-py3-none-any.whl",
                      "hashes": {}, "upload-time": t, "size": len(wheel(v))} for v, t in times.items()]
            body = json.dumps({"meta": {"api-version": "1.1"}, "name": "thing",
                               "versions": ["1.0", "2.0"], "files": files}).encode()
            kind = "application/vnd.pypi.simple.v1+json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
mkfifo port
python3 index.py > port & server=$!; read -r port < port

seen=
for which in late edge; do
    for tool in pip uv; do
        if [ "$tool" = pip ]; then run=(pip --isolated --disable-pip-version-check); else run=(uv --no-cache --no-config pip); fi
        index=--index-url; [ "$tool" = pip ] || index=--default-index
        if "${run[@]}" install -q --no-deps --target "$tool-$which" "$index" "http://127.0.0.1:$port/$which" thing > log 2>&1
        then said=$(cd "$tool-$which" && echo thing-*.dist-info); else said=refused; fi
        echo "$tool, $which: $said"; [ "$said" != refused ] || grep -m 2 -E "timestamp|time|error" log || true
        seen+="$tool $which $said;"
    done
done
pip --version | cut -d' ' -f1,2; uv --version
[ "$seen" = "pip late thing-2.0.dist-info;uv late refused;pip edge thing-2.0.dist-info;uv edge thing-2.0.dist-info;" ]
