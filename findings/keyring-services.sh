#!/usr/bin/env bash
# A keyring has one login, under the address of an index. pip 26.3 and uv 0.13.9 are both configured to
# ask the `keyring` program. The index's address has the user's name.
#
# Guess: both find it, or both do not.
# Seen: it depends on the slash at the end. pip asks for the address with exactly one slash at its end,
# however it is written, then for host and port. uv asks for the address as it is written, then for
# host and port, then for scheme, host and port. So pip always finds an entry with a slash, and never
# one without. uv finds the entry that is written like the address in its configuration.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv; python3 -m venv other
venv/bin/python -m pip install -q --disable-pip-version-check pip==26.3 uv==0.13.9
# pip ignores a `keyring` that is installed beside it.
other/bin/python -m pip install -q --disable-pip-version-check keyring==25.7.0 keyrings.alt==5.0.2
mkdir home tree
export HOME=$where/home XDG_DATA_HOME=$where/home XDG_CONFIG_HOME=$where/home XDG_CACHE_HOME=$where/home
export PATH=$where/venv/bin:$where/other/bin:$PATH PYTHON_KEYRING_BACKEND=keyrings.alt.file.PlaintextKeyring
unset ${!PIP_*} ${!UV_*}

cat > index.py <<'PY'
import base64, http.server

WANTED = "Basic " + base64.b64encode(b"alice:secret").decode()
PAGE = b'<a href="thing-1.0-py3-none-any.whl">thing-1.0-py3-none-any.whl</a>'

class Index(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        known = self.headers.get("Authorization") == WANTED
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "text/html")
        if not known:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Length", str(len(PAGE) if known else 0))
        self.end_headers()
        if known:
            self.wfile.write(PAGE)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
mkfifo port
python3 index.py > port & server=$!; read -r port < port

# The page is enough to see who is let in: no program needs the file.
finds() {
    local log
    if [ "$1" = pip ]; then
        log=$(pip --isolated --disable-pip-version-check download -q --no-deps --keyring-provider subprocess \
            --dest tree --index-url "$2" thing 2>&1 || true)
    else
        log=$(uv --no-cache --no-config pip install --dry-run --no-deps --keyring-provider subprocess \
            --target tree --default-index "$2" thing 2>&1 || true)
    fi
    case $log in
        *"No matching distribution"* | *401* | *credentials* | *nauthorized*) echo no ;;
        *) echo yes ;;
    esac
}

seen=
for entry in "http://127.0.0.1:$port/simple" "http://127.0.0.1:$port/simple/"; do
    rm -rf home/*
    printf secret | keyring set "$entry" alice
    for index in "http://alice@127.0.0.1:$port/simple" "http://alice@127.0.0.1:$port/simple/"; do
        for program in pip uv; do
            found=$(finds "$program" "$index")
            echo "entry ...${entry##*:"$port"}, index ...${index##*:"$port"}: $program finds it: $found"
            seen="$seen$found "
        done
    done
done
pip --version | cut -d' ' -f1,2; uv --version | cut -d' ' -f1,2
#       entry /simple:  pip uv  pip uv    entry /simple/:  pip uv  pip uv
[ "$seen" = "no yes no no yes no yes yes " ] || { echo "that has changed: $seen"; exit 1; }
