#!/usr/bin/env bash
# A bucket has objects that other programs made: "folder/", the empty object that consoles make for a
# folder, and "a//b", which is a valid key of S3. obstore 0.12.1 and boto3 1.44.8 list the bucket.
#
# Guess: both list what is there, and what is listed can be asked for by that name.
# Seen: obstore lists "folder/" as "folder", and then says that there is no such object: it drops the
# slash in requests, too. With "a//b" in the bucket, its listing ends with an error, wherever that key
# is, and tells nothing of the other objects on that page. boto3 has no such limits. So whoever
# shares a bucket lists it with another client, or gives obstore a prefix of its own.
set -euo pipefail
where=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check obstore==0.12.1 boto3==1.44.8 'moto[server]==5.2.5'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/moto_server -p "$port" > /dev/null 2>&1 & server=$!
env -u AWS_PROFILE PORT="$port" venv/bin/python - <<'PY'
import os
import socket
import time

import boto3
import obstore
from obstore.store import S3Store

port = int(os.environ["PORT"])
for _ in range(300):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            break
    time.sleep(0.1)
address = f"http://127.0.0.1:{port}"
client = boto3.client(
    "s3", endpoint_url=address, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
)
client.create_bucket(Bucket="bucket")
store = S3Store(
    "bucket", endpoint=address, access_key_id="a", secret_access_key="b", region="us-east-1",
    client_options={"allow_http": True},
)


def by_boto3():
    return [found["Key"] for found in client.list_objects_v2(Bucket="bucket")["Contents"]]


def by_obstore():
    try:
        return [found["path"] for page in obstore.list(store) for found in page]
    except Exception as error:
        return type(error).__name__


def can_get(key):
    try:
        return obstore.get(store, key).bytes() == b"x"
    except FileNotFoundError:
        return False


for key in ("a/file", "folder/"):
    client.put_object(Bucket="bucket", Key=key, Body=b"x")
first = by_boto3(), by_obstore(), can_get("folder"), can_get("folder/")
client.put_object(Bucket="bucket", Key="a//b", Body=b"x")
second = by_boto3(), by_obstore()
print("boto3:", first[0], "obstore:", first[1], "and obstore gets folder, folder/:", first[2:])
print("boto3:", second[0], "obstore:", second[1])
assert first == (["a/file", "folder/"], ["a/file", "folder"], False, False), "that has changed"
assert second == (["a//b", "a/file", "folder/"], "InvalidPathError"), "that has changed"
PY
