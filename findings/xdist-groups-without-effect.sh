#!/usr/bin/env bash
# Tests marked with `xdist_group` share a server that takes long to start. Does `--dist loadgroup`
# still run each group in one process?
#
# Guess: yes; the mark is in pytest-xdist's documentation, and nothing warns.
# Seen: with pytest 9.0.2, all tests of a group run in one process. With pytest 9.2.0 they are spread
# like any other tests, without a warning. A suite becomes slower and stays green. pytest-xdist 3.8.0
# writes the group into a private attribute of each test, which that pytest does not read.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"; export HOME=$where
cat > test_group.py <<'PY'
import os
import pathlib
import pytest

@pytest.mark.xdist_group("server")
@pytest.mark.parametrize("number", range(8))
def test_it(number):
    pathlib.Path(os.environ["SEEN"], os.environ["PYTEST_XDIST_WORKER"]).touch()
PY
seen=
for version in 9.0.2 9.2.0; do
    python3 -m venv "env-$version"
    "env-$version/bin/python" -m pip install -q --disable-pip-version-check "pytest==$version" pytest-xdist==3.8.0
    mkdir "seen-$version"
    SEEN=$where/seen-$version "env-$version/bin/python" -m pytest -q -n 4 --dist loadgroup -p no:cacheprovider test_group.py > log
    grep -q '8 passed' log
    seen+="pytest $version: $([ "$(ls "seen-$version" | wc -l)" = 1 ] && echo one process || echo several processes); "
done
echo "pytest-xdist 3.8.0, four processes, eight tests of one group"
echo "$seen"
[ "$seen" = "pytest 9.0.2: one process; pytest 9.2.0: several processes; " ] || { echo "that has changed"; exit 1; }
