#!/usr/bin/env python3
"""A client with a wrong password is refused, says so, and does not try for ever.

    refused.py CLIENT WORK HOST PORT tcp|tls USER@DOMAIN
"""
import sys
import time

from endpoint import Checks, Endpoint

# Three REGISTERs are a handshake, and a client may try its password once more.
REQUESTS_MAX = 6


def main():
    client, work, host, port, transport, user = sys.argv[1:]
    checks = Checks()
    wrong = Endpoint(client, work, "wrong", user, "no-such-password", host, port, transport, "pc-wrong")
    event = wrong.wait(lambda e: e["ev"] in ("signed-on", "connection-error", "process-ended"), 0, 15)
    checks.that(event and event["ev"] == "connection-error", "a wrong password does not sign in", str(event))
    time.sleep(3)
    sent = [e for e in wrong.events if e["ev"] == "sip-out"]
    checks.that(0 < len(sent) <= REQUESTS_MAX, f"and is tried {len(sent)} times, no more", f"{len(sent)} requests")
    wrong.end()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
