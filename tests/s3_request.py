#!/usr/bin/env python3
"""One signed request without a body to the S3 server that the environment names.

usage: s3_request.py METHOD PATH

Exits 0 for an answer below 300, and for a bucket that is there already.
"""
import datetime
import hashlib
import hmac
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

method, path = sys.argv[1:3]
endpoint, region = os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"]
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]

time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
scope = f"{time[:8]}/{region}/s3/aws4_request"
digest = hashlib.sha256(b"").hexdigest()
signed = {"host": urllib.parse.urlparse(endpoint).netloc, "x-amz-content-sha256": digest, "x-amz-date": time}
names = ";".join(signed)
canonical = "\n".join([method, path, "", *(f"{name}:{value}" for name, value in signed.items()), "", names, digest])
text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(canonical.encode()).hexdigest()])
chain = ("AWS4" + secret).encode()
for part in (time[:8], region, "s3", "aws4_request"):
    chain = hmac.new(chain, part.encode(), hashlib.sha256).digest()
signature = hmac.new(chain, text.encode(), hashlib.sha256).hexdigest()
headers = {name: value for name, value in signed.items() if name != "host"}
headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
request = urllib.request.Request(endpoint + path, method=method, headers=headers)
try:
    urllib.request.urlopen(request, timeout=10).close()
except urllib.error.HTTPError as answer:
    sys.exit(0 if answer.code == 409 else 1)
except OSError:
    sys.exit(1)
