#!/usr/bin/env bash
# A subclass of a msgspec Struct has rename="kebab", because keys of simple index pages have dashes
# ("requires-python"). msgspec 0.22.0 reads a document with such keys only.
#
# Guess: `rename` of the subclass counts for all of its fields, or is refused.
# Seen: it counts only for the fields that the subclass itself declares. Inherited fields keep the names
# that the base gave them. So "requires-python" is an unknown key and is ignored: the field has its
# default, without a warning. With forbid_unknown_fields it is an error.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check msgspec==0.22.0
venv/bin/python - <<'PY'
import msgspec
from importlib.metadata import version

class Base(msgspec.Struct):
    requires_python: str | None = None

class File(Base, rename="kebab"):
    upload_time: str | None = None

class Strict(Base, rename="kebab", forbid_unknown_fields=True):
    upload_time: str | None = None

document = b'{"requires-python": ">=3.11", "upload-time": "2026-11-29T00:00:00Z"}'
found = msgspec.json.decode(document, type=File)
print("msgspec", version("msgspec"))
print("as read:", found)
print("as written:", msgspec.json.encode(File(">=3.11", "now")).decode())
assert found.requires_python is None and found.upload_time is not None
assert File.__struct_encode_fields__ == ("requires_python", "upload-time")
try:
    msgspec.json.decode(document, type=Strict)
except msgspec.ValidationError as error:
    print("strictly:", error)
else:
    raise SystemExit("it is no error any more")
PY
