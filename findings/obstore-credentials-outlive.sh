#!/usr/bin/env bash
# obstore 0.12.1 asks boto3 1.44.8 for credentials, through its own Boto3CredentialProvider. They are
# temporary and end in 20 minutes, as those of a role or of single sign-on do.
#
# Guess: obstore asks for new ones before these end.
# Seen: the provider says that they last for 30 minutes, whatever their own end is. obstore asks again
# when less than five minutes of the 30 are left. So it sends ended credentials for five minutes. boto3
# itself would have renewed them in time: from 15 minutes before the end, and by 10 minutes before it.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv
venv/bin/python -m pip install -q --disable-pip-version-check obstore==0.12.1 boto3==1.44.8
cat > give <<'SH'
#!/usr/bin/env bash
end=$(python3 -c 'from datetime import *; print((datetime.now(UTC) + timedelta(minutes=20)).isoformat())')
echo "{\"Version\": 1, \"AccessKeyId\": \"a\", \"SecretAccessKey\": \"b\", \"Expiration\": \"$end\"}"
SH
chmod +x give
printf '[default]\ncredential_process = %s/give\n' "$where" > config
env -u AWS_ACCESS_KEY_ID -u AWS_PROFILE AWS_CONFIG_FILE="$where/config" \
  AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true venv/bin/python - <<'PY'
from datetime import UTC, datetime

import boto3
from obstore.auth.boto3 import Boto3CredentialProvider

session = boto3.Session()
told = Boto3CredentialProvider(session)()["expires_at"] - datetime.now(UTC)
ends = session.get_credentials()._expiry_time - datetime.now(UTC)
print(f"they end in {ends.seconds / 60:.0f} minutes; obstore is told {told.seconds / 60:.0f}")
assert told > ends, "it is right now"
PY
