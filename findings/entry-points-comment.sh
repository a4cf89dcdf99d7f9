#!/usr/bin/env bash
# A wheel's entry_points.txt has comments. Its format is that of Python's configparser, in which lines
# that begin with "#" or ";" are comments. Do installers accept them?
#
# Guess: pip and uv ignore both kinds.
# Seen: both ignore "#". At a ";" below a section, pip ends with a bare TypeError and installs
# nothing; uv installs the command. So a check of wheels that reads this file with configparser
# accepts wheels that pip cannot install.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"; export XDG_CACHE_HOME=$where/cache HOME=$where
tool() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
tool pip pip==26.3; tool uv uv==0.13.9

cat > wheel.py <<'PY'
import configparser, sys, zipfile

sign = sys.argv[1]
points = f"{sign} made by a build tool\n[console_scripts]\n{sign} the one command\nhello = thing:main\n"
parser = configparser.ConfigParser()
parser.read_string(points)
assert dict(parser["console_scripts"]) == {"hello": "thing:main"}
info = "thing-1.0.dist-info"
members = {
    "thing.py": "def main():\n    print('hello')\n",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{info}/entry_points.txt": points,
}
members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
with zipfile.ZipFile("thing-1.0-py3-none-any.whl", "w") as archive:
    for name, text in members.items():
        archive.writestr(zipfile.ZipInfo(name), text)
PY

said() { # said ENVIRONMENT: what its command says, or why there is none
    if [ -x "$1/bin/hello" ]; then "$1/bin/hello"; else grep -oE '^[A-Za-z]+Error' log | tail -n 1 || echo nothing; fi
}
seen=
for sign in '#' ';'; do
    python3 wheel.py "$sign"
    rm -rf by-pip by-uv; python3 -m venv by-pip; python3 -m venv --without-pip by-uv
    pip/bin/pip --isolated --python by-pip install -q --no-index --no-deps ./thing-1.0-py3-none-any.whl > log 2>&1 || true
    seen+="$sign: pip $(said by-pip), "
    uv/bin/uv pip install -q --no-config --offline --no-deps --python by-uv ./thing-1.0-py3-none-any.whl > log 2>&1 || true
    seen+="uv $(said by-uv); "
done
echo "pip 26.3, uv 0.13.9; entry_points.txt with comments that begin with # and with ;"
echo "$seen"
[ "$seen" = "#: pip hello, uv hello; ;: pip TypeError, uv hello; " ] || { echo "that has changed"; exit 1; }
