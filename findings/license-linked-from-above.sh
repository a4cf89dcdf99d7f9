#!/usr/bin/env bash
# A repository has several packages and one LICENSE at its top. Each package has a symbolic link to it, "LICENSE"
# to "../LICENSE", and names it in license-files. build 1.6.1 makes an sdist, and a wheel from the sdist, with
# five backends. Then pip 26.3 and uv 0.13.9 get the sdist.
#
# Guess: each backend writes the text of the license into both archives, or refuses.
# Seen: setuptools and uv_build write the text, flit-core refuses. hatchling writes the link itself into the
# sdist, where it leads to nothing: the build ends without a warning, the wheel has no license, and pip
# refuses the sdist, as its link leads out. uv installs it, without the license. pdm-backend writes the link, too,
# and fails at the wheel. So whoever publishes installs the sdist with pip first.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"; export HOME=$where XDG_CACHE_HOME=$where/cache UV_PYTHON_DOWNLOADS=never
make() { python3 -m venv "$1" && "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
make tool pip==26.3 uv==0.13.9
make build build==1.6.1 pip==26.3 hatchling==1.33.0 pdm-backend==2.5.0 flit-core==4.2.0 uv-build==0.13.6 setuptools==84.2.1
export PATH=$where/build/bin:$PATH  # the program of uv-build is there

mkdir repository && echo "Do what you like." > repository/LICENSE
while read -r name backend; do
    package=repository/$name
    mkdir -p "$package/src/$name" && echo '"""A module."""' > "$package/src/$name/__init__.py"
    ln -s ../LICENSE "$package/LICENSE"
    cat > "$package/pyproject.toml" <<TOML
[build-system]
requires = []
build-backend = "$backend"
[project]
name = "$name"
version = "1.0"
description = "One of several"
license = "MIT"
license-files = ["LICENSE"]
[tool.hatch.build.targets.wheel]
packages = ["src/$name"]
TOML
    if build/bin/python -m build -q --no-isolation --outdir "dist/$name" "$package" > log 2>&1; then built=built; else built="the build fails"; fi
    sdist=dist/$name/$name-1.0.tar.gz
    echo "$name: $built$(python3 - "$sdist" "dist/$name/"*.whl <<'PY'
import pathlib, sys, tarfile, zipfile

sdist, wheel = map(pathlib.Path, sys.argv[1:])
if sdist.exists():
    member = tarfile.open(sdist).getmember(f"{sdist.name.removesuffix('.tar.gz')}/LICENSE")
    print(", the sdist has", f"a link to {member.linkname}" if member.issym() else "the text", end="")
if wheel.exists():
    has = any(name.endswith("/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
    print(", the wheel has", "the text" if has else "no license", end="")
PY
)"
    [ -e "$sdist" ] || continue
    arguments=(install -q --no-deps --no-build-isolation --target)
    if build/bin/python -m pip --isolated "${arguments[@]}" "by-pip-$name" "$sdist" > log 2>&1; then echo "    pip installs the sdist"
    else echo "    pip: $(grep -o 'outside the destination' log)"; fi
    if tool/bin/uv pip "${arguments[@]}" "by-uv-$name" --no-config --python build/bin/python "$sdist" > log 2>&1; then
        echo "    uv installs the sdist, with $(find "by-uv-$name" -name LICENSE | wc -l | xargs) license"
    else echo "    uv: the build fails"; fi
done <<'TXT' | tee seen
setuptools setuptools.build_meta
uv uv_build
flit flit_core.buildapi
pdm pdm.backend
hatch hatchling.build
TXT
diff seen - <<'TXT'
setuptools: built, the sdist has the text, the wheel has the text
    pip installs the sdist
    uv installs the sdist, with 1 license
uv: built, the sdist has the text, the wheel has the text
    pip installs the sdist
    uv installs the sdist, with 1 license
flit: the build fails
pdm: the build fails, the sdist has a link to ../LICENSE
    pip: outside the destination
    uv: the build fails
hatch: built, the sdist has a link to ../LICENSE, the wheel has no license
    pip: outside the destination
    uv installs the sdist, with 0 license
TXT
