#!/usr/bin/env python3
"""Stands in for `gcloud compute tpus`: a queue, its states, and workers, in a folder ($CLOUD).

$CLOUD/plan has one line for each description of a request, the state it then has; "NETWORK" is a question that fails,
and a line that begins with "ERROR" is its error. $CLOUD/refused has verbs that fail; "lost" is a "create" whose
answer is lost. $CLOUD/workers has one line for each `_worker.sh status`; "UNREACHABLE" is an ssh that fails.
$CLOUD/fails counts the other calls of ssh that fail first. All calls are noted in $CLOUD/calls.
"""

import os
import sys
from pathlib import Path

CLOUD = Path(os.environ["CLOUD"])


def next_line(name: str, otherwise: str) -> str:
    """Takes the first line of a file of the folder; its last line stays."""
    path = CLOUD / name
    lines = path.read_text().splitlines() if path.exists() else []
    if len(lines) > 1:
        path.write_text("\n".join(lines[1:]) + "\n")
    return lines[0] if lines else otherwise


def main(words: list[str]) -> int:
    with (CLOUD / "calls").open("a") as calls:
        calls.write(" ".join(words) + "\n")
    kind, verb = words[2], words[3]
    exists, refused = CLOUD / "request", CLOUD / "refused"
    refusals = refused.read_text().split() if refused.exists() else []
    if verb in refusals:
        sys.stderr.write(
            "ERROR: (gcloud) RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepodPerProjectPerZone' exceeded\n"
        )
        return 1
    if kind == "queued-resources" and verb == "create":
        exists.touch()
        return int("lost" in refusals)
    elif kind == "queued-resources" and verb == "delete":
        exists.unlink()
    elif kind == "queued-resources" and verb == "describe":
        if not exists.exists():
            sys.stderr.write("ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: no such request\n")
            return 1
        state = next_line("plan", "ACTIVE")
        if state == "NETWORK":
            sys.stderr.write("ERROR: gcloud crashed (TransportError): no route to host\n")
            return 1
        if state.startswith("ERROR"):
            sys.stderr.write(f"{state}\nTo take a quick anonymous survey, run:\n  $ gcloud survey\n")
            return 1
        print(state, flush=True)
        sys.stderr.write("\nUpdates are available for some Google Cloud CLI components.\n")
    elif kind == "tpu-vm" and verb == "ssh":
        if "_worker.sh status" in words[-1]:
            answer = next_line("workers", "not started")
            if answer == "UNREACHABLE":
                return 255
            print(answer)
            return 0
        fails = CLOUD / "fails"
        left = int(fails.read_text()) if fails.exists() else 0
        if left:
            fails.write_text(str(left - 1))
            sys.stderr.write("ERROR: worker 3: ssh: connect to host 10.0.0.5 port 22: Connection refused\n")
            return 255
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
