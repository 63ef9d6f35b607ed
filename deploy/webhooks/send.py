#!/usr/bin/env python3
"""Sends the alert on standard input, JSON, to a webhook of Tollgate, signed.

    send.py https://tollgate.example.com/v1/blocks/webhook/siem /run/secrets/tollgate-webhook < alert.json

The second argument is a file with the secret: an argument or a variable would show in the process list. Prints the
answer; the exit status is 0 only if the alert was taken. For SIEMs whose own webhooks cannot sign.
"""

import hashlib
import hmac
import sys
import time
import urllib.error
import urllib.request

MAX_BYTES = 64 * 1024


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 64
    url, secret_file = sys.argv[1:]
    with open(secret_file, "rb") as file:
        secret = file.read().rstrip(b"\r\n")
    body = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        print(f"the alert has more than {MAX_BYTES} bytes", file=sys.stderr)
        return 1
    now = str(int(time.time()))
    signature = hmac.new(secret, now.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Tollgate-Signature": f"t={now},v1={signature}"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as refused:
        print(refused.read().decode(), file=sys.stderr)
    except OSError as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
