#!/usr/bin/env bash
# pydantic's ByteSize reads sizes such as "1.5 GiB" from configuration files. Where people write a
# comma in numbers, they write "1,5 GiB"; others group digits, "1,000 MB". pydantic 2.14.4.
#
# Guess: both are refused, since neither is a number with a unit as the documentation has them.
# Seen: neither is. The text is read up to the comma and what follows is passed over, the unit with
# it: both are one byte. A mirror whose largest file may have "1,5 GiB" would fetch none.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check pydantic==2.14.4
venv/bin/python - <<'PY'
from importlib.metadata import version
from pydantic import ByteSize, TypeAdapter, ValidationError

def read(text):
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        return error.errors()[0]["type"]

found = {text: read(text) for text in ("1.5 GiB", "1,5 GiB", "1,000 MB", "1 000 MB", "GiB")}
print("pydantic", version("pydantic"))
for text, size in found.items():
    print(f"{text!r}: {size}")
assert found["1.5 GiB"] == 3 << 29
assert found["1,5 GiB"] == found["1,000 MB"] == 1
assert isinstance(found["1 000 MB"], str) or found["1 000 MB"] != 1000 * 1000**2
PY
