#!/usr/bin/env bash
# `pip lock` writes a pylock.toml for the machine on which it runs. The format has a key for this,
# "environments", and installers must refuse a lock that is not for them. One dependency of the
# application is for Windows alone. pip 26.3 locks on Linux; uv 0.13.9 installs the lock for Windows.
#
# Guess: pip writes "environments" or "requires-python", so that uv refuses the lock.
# Seen: pip writes neither. uv installs for Windows, without a word, an application that lacks its
# dependency. So a mirror of exactly what such a lock names cannot know that it is not complete.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache
python3 -m venv tool && tool/bin/python -m pip install -q --disable-pip-version-check pip==26.3 uv==0.13.9

python3 - <<'PY'
import pathlib, zipfile

needs = {"app": 'Requires-Dist: helper; sys_platform == "win32"\n', "helper": ""}
for name, requires in needs.items():
    info = f"{name}-1.0.dist-info"
    members = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{n},,\n" for n in [*members, f"{info}/RECORD"])
    folder = pathlib.Path("index/simple", name)
    folder.mkdir(parents=True)
    file = f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / file, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{file}">{file}</a>')
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory index > /dev/null 2>&1 & server=$!

index=(--index-url "http://127.0.0.1:$port/simple/")
tool/bin/pip lock -q "${index[@]}" -o pylock.toml app 2> log || { cat log; exit 1; }
echo app > requirements.txt
tool/bin/uv pip compile -q --universal --format pylock.toml "${index[@]}" -o pylock.uv.toml requirements.txt

python3 -m venv --without-pip target; export VIRTUAL_ENV=$where/target
for lock in pylock.toml pylock.uv.toml; do
    echo "$lock: by $(sed -n 's/^created-by = //p' "$lock"), keys $(sed -n '/^\[/q; s/ = .*//p' "$lock" | grep -v '^#' | xargs)"
    tool/bin/uv pip sync --dry-run --python-platform windows "$lock" > log 2>&1 || { cat log; exit 1; }
    grep '^ +' log | sort
done | tee seen
diff seen - <<'TXT'
pylock.toml: by "pip", keys lock-version created-by
 + app==1.0
pylock.uv.toml: by "uv", keys lock-version created-by requires-python
 + app==1.0
 + helper==1.0
TXT
