#!/usr/bin/env python3
"""Two Linphones watch each other by a server that runs: each by a subscription of its own, then one by a list.

    run.py WORK SERVER-PORT [--base-port PORT]

The list is RFC 5367 as Linphone sends it (compressed); its members are a friend who is there and one who never was.
"""
import json
import os
import subprocess
import sys
import threading
import time

LIMIT_S = 3.0
HERE = os.path.dirname(os.path.abspath(__file__))


class Linphone:
    """A process of client.py."""

    def __init__(self, work, name, arguments):
        self.lines, self.told = [], threading.Condition()
        errors = open(os.path.join(work, f"{name}.stderr"), "w", encoding="utf-8")
        command = [sys.executable, os.path.join(HERE, "client.py"), os.path.join(work, name)] + arguments
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                with self.told:
                    self.lines.append(json.loads(line))
                    self.told.notify_all()

    def say(self, command):
        """Gives a command; the place in what it says from which the consequences come."""
        with self.told:
            place = len(self.lines)
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return place

    def place(self):
        with self.told:
            return len(self.lines)

    def shows(self, since=0, seconds=LIMIT_S, **wanted):
        """Whether it comes to say this."""
        until = time.monotonic() + seconds
        with self.told:
            while True:
                if any(wanted.items() <= line.items() for line in self.lines[since:]):
                    return True
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self.told.wait(left)

    def end(self):
        if self.process.poll() is None:
            try:
                self.say("quit")
                self.process.wait(10)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self.process.kill()


class Checks:
    def __init__(self):
        self.failed = 0

    def that(self, truth, what, who):
        self.failed += not truth
        said = "" if truth else f"   {who.lines[-4:]}"
        print(f"{'PASS' if truth else 'FAIL'}  {what}{said}", flush=True)


def main():
    work, server = sys.argv[1:3]
    port = int(sys.argv[4]) if sys.argv[3:4] == ["--base-port"] else 27010
    alice, bob, carol = (f"{name}@example.com" for name in ("alice", "bob", "carol"))
    checks, ends = Checks(), []
    for way, transport, rls in (("each by itself", "udp", []), ("as a list", "tcp", ["--list", "sip:friends@example.com"])):
        def start(name, me, number, *friends):
            one = Linphone(work, f"{name}-{transport}", [str(port + number), server, transport, me, *friends])
            ends.append(one)
            checks.that(one.shows(registered=True, seconds=20), f"{way}: {name} registers over {transport}", one)
            return one

        try:
            first = start("alice", alice, 0, *rls, bob, carol)
            second = start("bob", bob, 4, alice)
            checks.that(first.shows(friend=bob, shown="online"), f"{way}: alice sees bob come", first)
            checks.that(second.shows(friend=alice, shown="online"), f"{way}: bob sees that alice is there", second)
            # Linphone forgets a state that is given to it while the one before is on its way.
            time.sleep(1)
            place = first.place()
            second.say("lunch noodles, of all things")
            checks.that(first.shows(place, friend=bob, activity="lunch", note="noodles, of all things"),
                        f"{way}: alice sees where bob is, and his note", first)
            place = second.place()
            first.say("on-the-phone")
            checks.that(second.shows(place, friend=alice, activity="on-the-phone"),
                        f"{way}: bob sees alice on the phone", second)
            checks.that(not first.shows(friend=carol, shown="online", seconds=0), f"{way}: who never was there is not", first)
            place = first.place()
            second.end()
            checks.that(first.shows(place, friend=bob, shown="offline"), f"{way}: alice sees bob go", first)
        finally:
            for one in ends:
                one.end()
    print("ALL PASSED" if not checks.failed else f"FAILED: {checks.failed} checks")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
