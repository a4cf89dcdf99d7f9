"""A build backend that needs nothing: it travels inside the sdists that `build.make_sdist` makes.

So pip and uv can install these sdists from an index that has no build tools.
"""

import base64
import hashlib
import pathlib
import zipfile


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Pack the one package beside this file, with the sdist's PKG-INFO as METADATA."""
    here = pathlib.Path(__file__).parent
    metadata = (here / "PKG-INFO").read_text(encoding="utf-8")
    fields = dict(line.split(": ", 1) for line in metadata.split("\n\n")[0].splitlines())
    stem = fields["Name"].lower().replace("-", "_").replace(".", "_")
    information = f"{stem}-{fields['Version']}.dist-info"
    contents = {
        path.relative_to(here / "src").as_posix(): path.read_bytes()
        for path in sorted((here / "src").rglob("*"))
        if path.is_file()
    }
    contents[f"{information}/METADATA"] = metadata.encode()
    contents[f"{information}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: in-tree\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = ""
    for name, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    contents[f"{information}/RECORD"] = (record + f"{information}/RECORD,,\n").encode()
    filename = f"{stem}-{fields['Version']}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, filename), "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return filename
