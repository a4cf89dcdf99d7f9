#!/usr/bin/env bash
# A project has the versions 1.0, 1.0.1, 2.0 and 11.0, and a Pipfile asks for "here==1.0", from an index that is
# not PyPI. pipenv 2026.10.3 locks it.
#
# Guess: Pipfile.lock has the digest of each file of version 1.0.
# Seen: it has those of 1.0.1 and 11.0, too: each file counts whose address has the text "1.0" in it.
# And the address has the file's own digest: for a version of one digit, "2", that is every file. So whoever
# asks for the files of such a lock by digest must not expect them to be of that version.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check pipenv==2026.10.3
unset PIP_FIND_LINKS

python3 - <<'PY'
import hashlib, pathlib, zipfile

versions = {"here": ("1.0", "1.0.1", "2.0", "11.0"), "single": ("2", "3.1", "4.0.1")}
for name in versions:
    folder = pathlib.Path("index/simple", name)
    folder.mkdir(parents=True)
    links = []
    for version in versions[name]:
        info = f"{name}-{version}.dist-info"
        members = {
            f"{name}.py": "",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
        wheel = folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for member, text in members.items():
                archive.writestr(zipfile.ZipInfo(member), text)  # the same bytes, and digests, at any time
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        links.append(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
    (folder / "index.html").write_text("<!DOCTYPE html>" + "".join(links))
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory index > /dev/null 2>&1 & server=$!

mkdir project; cd project
cat > Pipfile <<TOML
[[source]]
url = "http://127.0.0.1:$port/simple"
verify_ssl = false
name = "local"

[packages]
here = "==1.0"
single = "==2"
TOML
../tool/bin/pipenv --version
../tool/bin/pipenv lock > ../log 2>&1 || { cat ../log; exit 1; }
python3 - <<'PY' | tee ../seen
import hashlib, json, pathlib

names = {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in pathlib.Path("../index").rglob("*.whl")}
for name, entry in json.load(open("Pipfile.lock"))["default"].items():
    locked = sorted(names[text.removeprefix("sha256:")] for text in entry["hashes"])
    print(name, entry["version"], *(file.split("-")[1] for file in locked))
PY
diff ../seen - <<'TXT'
here ==1.0 1.0 1.0.1 11.0
single ==2 2 3.1 4.0.1
TXT
