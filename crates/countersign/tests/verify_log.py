"""Checks a log without any code of the gate: a JSON reader and SHA-256 are enough (README, "The log").

Reads the lines of `countersign audit tail --json` on standard input. Prints `ok N` and ends with 0, or names the first
bad record and ends with 1.
"""

import hashlib
import json
import sys

prev, seq = "0" * 64, 0
for line in sys.stdin:
    record = json.loads(line)
    seq += 1
    claimed = record.pop("hash")
    body = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found = hashlib.sha256(b"countersign-record-v1\0" + body.encode()).hexdigest()
    if record["seq"] != seq or record["prev"] != prev or found != claimed:
        print("bad", seq)
        sys.exit(1)
    prev = claimed
print("ok", seq)
