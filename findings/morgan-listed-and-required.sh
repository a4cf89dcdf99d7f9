#!/usr/bin/env bash
# morgan 0.15.0 mirrors an application and a library. Both stand in [requirements] with `>=0`, and
# --mirror-all-versions asks for each release of both. The application requires `library>=0`.
#
# Guess: what stands in [requirements] comes with all its releases; that the application requires it, too,
# changes nothing.
# Seen: if the application comes first in the file, only the newest release of the library is mirrored, and morgan
# ends with 0. If the library comes first, or has another condition (`<1000`), all three come. So a
# requirement of another project with the same text replaces the one of the file.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check morgan==0.15.0

cat > make.py <<'PY'
import hashlib, io, json, os, zipfile

def wheel(name, version, *requires):
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
    members = {f"{name}.py": "", f"{info}/METADATA": metadata,
               f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return found.getvalue()

def project(name, *wheels):
    os.makedirs(f"simple/{name}")
    files = []
    for version, content in wheels:
        filename = f"{name}-{version}-py3-none-any.whl"
        with open(f"simple/{name}/{filename}", "wb") as stream:
            stream.write(content)
        files.append({"filename": filename, "url": filename, "size": len(content),
                      "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                      "upload-time": "2026-01-02T03:04:05.000000Z", "yanked": False})
    page = {"meta": {"api-version": "1.1"}, "name": name, "versions": [v for v, _ in wheels], "files": files}
    with open(f"simple/{name}/index.json", "w") as stream:
        json.dump(page, stream)

project("application", ("1.0", wheel("application", "1.0", "library>=0")))
project("library", *((v, wheel("library", v)) for v in ("1.0", "2.0", "3.0")))
PY
python3 make.py
cat > serve.py <<'PY'
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

class Handler(SimpleHTTPRequestHandler):
    extensions_map = {".json": "application/vnd.pypi.simple.v1+json"}
    index_pages = ("index.json",)

    def send_head(self):
        if self.path.endswith("/"):
            self.path += "index.json"
        return super().send_head()

    def log_message(self, *_):
        pass

listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(listening.server_port, flush=True)
listening.serve_forever()
PY
exec 3< <(exec python3 serve.py); server=$!
read -r port <&3

mirrored() {  # TITLE LINE...: the releases of the library after one run with these requirements
    mkdir -p "$1"
    { printf '[env.linux]\npython_version = 3.11\npython_full_version = 3.11.0\nos_name = posix\n'
      printf 'sys_platform = linux\nplatform_machine = x86_64\nplatform_system = Linux\n'
      printf 'platform_python_implementation = CPython\nimplementation_name = cpython\nplatform_tag = manylinux\n'
      printf '[requirements]\n'; printf '%s\n' "${@:2}"; } > "$1/morgan.ini"
    if tool/bin/morgan -i "$1" -I "http://127.0.0.1:$port/simple/" -a --skip-server-copy mirror > log 2>&1
    then status=0; else status=$?; cat log >&2; fi
    echo "$1: exit $status, $(ls "$1/library" | grep -c 'whl$') of 3"
}
{
    mirrored application-first 'application = >=0' 'library = >=0'
    mirrored library-first 'library = >=0' 'application = >=0'
    mirrored other-condition 'application = >=0' 'library = <1000'
} | tee seen
diff seen - <<'TXT'
application-first: exit 0, 1 of 3
library-first: exit 0, 3 of 3
other-condition: exit 0, 3 of 3
TXT
