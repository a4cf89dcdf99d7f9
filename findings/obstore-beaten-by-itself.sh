#!/usr/bin/env bash
# Two programs both want to make one object, and only one may succeed. So each writes it with obstore's
# mode="create", which sends If-None-Match: *. The first writes; the connection breaks after the server
# has stored the object, and before its answer arrives. obstore 0.12.1, moto 5.2.5.
#
# Guess: obstore reports a lost connection, since it cannot know whether it has written the object. Or
# it tries again, finds its own object, and reports success.
# Seen: it tries again by itself, and reports AlreadyExistsError, as if another one had won. The object is
# its own. So both programs believe that they have lost, unless the loser reads the object and compares.
set -euo pipefail
where=$(mktemp -d); trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check obstore==0.12.1 boto3==1.44.8 'moto[server]==5.2.5'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/moto_server -p "$port" > /dev/null 2>&1 &
for _ in $(seq 600); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2> /dev/null && break; sleep 0.1; done
env -u AWS_PROFILE PORT="$port" venv/bin/python - <<'PY'
import http.client
import http.server
import os
import threading

import boto3
import obstore
from obstore.store import S3Store

port = int(os.environ["PORT"])
asked = []


class Line(http.server.BaseHTTPRequestHandler):
    """Hands requests on. The answer to the first PUT is lost, as when a line breaks."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = http.client.HTTPConnection("127.0.0.1", port)
        server.request("PUT", self.path, body, dict(self.headers))
        answer = server.getresponse()
        content = answer.read()
        asked.append((self.headers["If-None-Match"], answer.status))
        if len(asked) == 1:
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


line = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Line)
threading.Thread(target=line.serve_forever, daemon=True).start()
client = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
)
client.create_bucket(Bucket="bucket")
store = S3Store(
    "bucket", endpoint=f"http://127.0.0.1:{line.server_port}", access_key_id="a", secret_access_key="b",
    region="us-east-1", client_options={"allow_http": True},
)
try:
    obstore.put(store, "one", b"mine", mode="create", use_multipart=False)
    result = "success"
except Exception as error:
    result = type(error).__name__
there = client.get_object(Bucket="bucket", Key="one")["Body"].read()
print("requests, with If-None-Match and the server's answer:", asked)
print("obstore reports", result, "and the object is", there)
assert asked == [("*", 200), ("*", 412)], "that has changed"
assert (result, there) == ("AlreadyExistsError", b"mine"), "that has changed"
PY
