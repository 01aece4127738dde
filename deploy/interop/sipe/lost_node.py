#!/usr/bin/env python3
"""Two users are signed in on two nodes of a pool, and the node that one of them is on is killed.

    lost_node.py CLIENT WORK ALICE:PASSWORD BOB:PASSWORD -- POOL [ARGUMENT]...

POOL is the command that runs a pool of three; its `--dir` is WORK/pool. Alice comes back on the node that is left:
contacts, groups, blocks and notes are as before, and each sees what the other does, on whatever node it is.
"""
import json
import os
import signal
import subprocess
import sys
import time

from endpoint import Checks, Endpoint, sees

LIMIT_S = 3.0


def start_pool(command, work):
    """Starts the pool; waits until it is ready; what it says of its nodes."""
    out = os.path.join(work, "pool.out")
    pool = subprocess.Popen(command, stdout=open(out, "w"), stderr=subprocess.STDOUT)
    until = time.monotonic() + 60
    while time.monotonic() < until and pool.poll() is None:
        if "lamplight pool ready" in open(out).read():
            with open(os.path.join(work, "pool", "pool.json"), encoding="utf-8") as said:
                return pool, json.load(said)["nodes"]
        time.sleep(0.05)
    pool.terminate()
    raise SystemExit(f"FAILED: the pool is not ready; see {out}")


def main():
    split = sys.argv.index("--")
    client, work, alice, bob = sys.argv[1:split]
    command = sys.argv[split + 1:]
    (alice, alice_password), (bob, bob_password) = alice.split(":", 1), bob.split(":", 1)
    a, b, carol = f"sip:{alice}", f"sip:{bob}", f"sip:carol@{alice.split('@')[1]}"
    checks = Checks()
    pool, nodes = start_pool(command, work)
    ends = []
    try:
        def start(name, user, password, pc, node):
            host, port = nodes[node]["sip"].rsplit(":", 1)
            endpoint = Endpoint(client, work, name, user, password, host, port, "tcp", pc)
            ends.append(endpoint)
            if not checks.that(endpoint.signed_on(), f"{name} signs in on node {node + 1}"):
                raise SystemExit(checks.finish())
            time.sleep(1)
            return endpoint

        first = start("alice", alice, alice_password, "pc-alice", 0)
        second = start("bob", bob, bob_password, "pc-bob", 1)
        first.say(f'add {b} "Team Alpha"')
        # One change at a time: two at once have the same number of the list, and the second is refused.
        time.sleep(1)
        first.say(f"add {carol} Office")
        second.say(f"add {a} Friends")
        time.sleep(1.5)
        first.say(f"block {carol}")
        place = second.say("list")
        first.say('status busy "before the fall"')
        checks.that(second.wait(sees(a, "busy", "before the fall"), place, LIMIT_S),
                    "bob sees alice busy with her note, from another node")
        place = first.say("list")
        second.say('status away "out"')
        checks.that(first.wait(sees(b, "away", "out"), place, LIMIT_S), "and she sees him")
        time.sleep(1)
        contacts = first.contacts()
        expected = {b: ("Team Alpha", "no"), carol: ("Office", "yes")}
        checks.that(contacts == expected, "alice has her contacts, groups and block", contacts)

        place = first.say("list")
        os.kill(nodes[0]["pid"], signal.SIGKILL)
        gone = first.wait(lambda e: e["ev"] in ("connection-error", "signed-off", "process-ended"), place, 15)
        checks.that(gone, "alice notices that her node is gone")
        first.end()

        # As a new process, which knows nothing: all that it shows is what the pool has.
        first = start("alice-again", alice, alice_password, "pc-alice", 2)
        found = first.contacts()
        checks.that(found == contacts, "alice has her contacts, groups and block as before", found)
        checks.that(first.wait(sees(b, "away", "out"), 0, LIMIT_S), "she sees what bob did before",
                    [e for e in first.events if e["ev"] == "buddy-status"])
        checks.that(not second.wait(lambda e: e["ev"] in ("connection-error", "process-ended"), 0, 0),
                    "bob's connection held")
        place = second.say("list")
        first.say('status dnd "after the fall"')
        began = time.monotonic()
        checks.that(second.wait(sees(a, "do-not-disturb", "after the fall"), place, LIMIT_S),
                    f"bob sees her new state after {time.monotonic() - began:.2f} s, in the subscription he had",
                    [e for e in second.events if e["ev"] == "buddy-status"][-1:])
        place = first.say("list")
        second.say('status busy "back"')
        checks.that(first.wait(sees(b, "busy", "back"), place, LIMIT_S), "and she sees his")
        return checks.finish()
    finally:
        for one in ends:
            one.end()
        pool.terminate()
        pool.wait(20)


if __name__ == "__main__":
    sys.exit(main())
