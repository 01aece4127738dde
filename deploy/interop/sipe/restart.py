#!/usr/bin/env python3
"""The server is killed and started again, on the same ports and data, while two users are signed in.

    restart.py CLIENT WORK HOST PORT tcp|tls ALICE:PASSWORD BOB:PASSWORD -- SERVER [ARGUMENT]...

Contacts, groups, blocks and notes are as before; who was signed in signs in again; a new state is seen in
three seconds.
"""
import os
import signal
import subprocess
import sys
import time

from endpoint import Checks, Endpoint, sees

LIMIT_S = 3.0


def serve(command, work, life):
    """Starts the server; waits until it is ready."""
    out = os.path.join(work, f"server-{life}.out")
    errors = open(os.path.join(work, f"server-{life}.err"), "w")
    server = subprocess.Popen(command, stdout=open(out, "w"), stderr=errors)
    until = time.monotonic() + 20
    while time.monotonic() < until and server.poll() is None:
        if "lamplight ready" in open(out).read():
            return server
        time.sleep(0.05)
    server.kill()
    raise SystemExit(f"FAILED: the server of life {life} is not ready; see {errors.name}")


def main():
    split = sys.argv.index("--")
    client, work, host, port, transport, alice, bob = sys.argv[1:split]
    command = sys.argv[split + 1:]
    (alice, alice_password), (bob, bob_password) = alice.split(":", 1), bob.split(":", 1)
    a, b, carol = f"sip:{alice}", f"sip:{bob}", f"sip:carol@{alice.split('@')[1]}"
    checks = Checks()
    server = serve(command, work, 1)
    ends = [server]
    try:
        def start(name, user, password, pc):
            endpoint = Endpoint(client, work, name, user, password, host, port, transport, pc)
            ends.append(endpoint)
            if not checks.that(endpoint.signed_on(), f"{name} signs in"):
                raise SystemExit(checks.finish())
            time.sleep(1)
            return endpoint

        first = start("alice", alice, alice_password, "pc-alice")
        second = start("bob", bob, bob_password, "pc-bob")
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
                    "bob sees alice busy with her note")
        time.sleep(1)
        contacts = {e.name: e.contacts() for e in (first, second)}
        expected = {b: ("Team Alpha", "no"), carol: ("Office", "yes")}
        checks.that(contacts["alice"] == expected, "alice has her contacts, groups and block", contacts["alice"])

        places = {e: e.say("list") for e in (first, second)}
        server.send_signal(signal.SIGKILL)
        server.wait()
        for e in (first, second):
            gone = e.wait(lambda event: event["ev"] in ("connection-error", "signed-off"), places[e], 15)
            checks.that(gone, f"{e.name} notices that the server is gone")
        time.sleep(1)
        server = serve(command, work, 2)
        ends.append(server)

        # Bob comes back as a new process that knows nothing, before alice: what he sees is what was kept.
        second.end()
        second = start("bob-again", bob, bob_password, "pc-bob")
        checks.that(second.wait(lambda e: "before the fall" in (e.get("message") or ""), 0, LIMIT_S),
                    "bob sees the note that alice had, before she is back",
                    [e for e in second.events if e["ev"] == "buddy-status"])
        checks.that(second.contacts() == contacts["bob"], "bob has his contacts as before", second.contacts())

        # Alice asks her running client to connect again, as the user interface does.
        place = first.say("connect")
        checks.that(first.signed_on(place), "alice signs in again")
        time.sleep(1)
        place = second.say("list")
        first.say('status away "after the fall"')
        began = time.monotonic()
        seen = second.wait(sees(a, "away", "after the fall"), place, LIMIT_S)
        checks.that(seen, f"bob sees her new state after {time.monotonic() - began:.2f} s",
                    [e for e in second.events if e["ev"] == "buddy-status"][-1:])
        place = first.say("list")
        second.say('status dnd "bob as well"')
        checks.that(first.wait(sees(b, "do-not-disturb", "bob as well"), place, LIMIT_S), "and she sees his")

        # And as a new process too: what it shows is what the server has.
        first.end()
        first = start("alice-again", alice, alice_password, "pc-alice")
        found = first.contacts()
        checks.that(found == contacts["alice"], "alice has her contacts, groups and block as before", found)
        return checks.finish()
    finally:
        for one in reversed(ends):
            if isinstance(one, Endpoint):
                one.end()
            elif one.poll() is None:
                one.terminate()
                one.wait(10)


if __name__ == "__main__":
    sys.exit(main())
