#!/usr/bin/env python3
"""Watches a user while calls go through a switchboard, as a BluStar client and as one of the standard.

lines.py SERVER_PORT NUMBER CALLS -- COMMAND...     COMMAND makes so many calls, one after the other
"""

import re
import subprocess
import sys
import time

from phone import Phone

server, number, calls = ("127.0.0.1", int(sys.argv[1])), sys.argv[2], int(sys.argv[3])
command = sys.argv[5:]
uri = "sip:carol@example.com"
failures = 0


def check(what, true, more=""):
    global failures
    failures += not true
    print("%s %s%s" % ("PASS" if true else "FAIL", what, "" if true else ": %s" % (more,)))


def line_of(body):
    found = re.search("<aa:DN>%s</aa:DN><aa:state>([a-z]+)</aa:state>" % re.escape(number), body)
    return found.group(1) if found else None


class Watcher:
    def __init__(self, name, lines, read):
        self.phone, self.read, self.seen = Phone(server, name), read, []
        answer = self.phone.ask("SUBSCRIBE", uri, "<%s>" % uri, name, 1,
                                ["Event: presence", "Accept: application/pidf+xml", "Expires: 600"] + lines)
        check("%s may watch" % name, answer.status == 200, answer.first)

    def look(self):
        notify = self.phone.notify(0.02)
        if notify is not None:
            state = self.read(notify.body)
            if not self.seen or self.seen[-1][1] != state:
                self.seen.append((time.monotonic(), state))

    def states(self):
        return [state for _, state in self.seen if state is not None]


desk = Watcher("desk", ["User-Agent: Aastra BluStar Client/3.0.0.0"], line_of)
plain = Watcher("plain", [], lambda body: "on the phone" if "<rpid:on-the-phone" in body else "free")
watchers = [desk, plain]


def watch_until(so, patience):
    until = time.monotonic() + patience
    while not so() and time.monotonic() < until:
        for watcher in watchers:
            watcher.look()
    return so()


check("the idle line is known", watch_until(lambda: desk.states()[-1:] == ["idle"], 20), desk.seen)
begun = time.monotonic()
caller = subprocess.Popen(command)
watch_until(lambda: caller.poll() is not None, 120)
check("the calls were made", caller.poll() == 0, caller.poll())
expected = ["idle"] + ["ringing", "busy", "idle"] * calls
watch_until(lambda: len(desk.states()) >= len(expected) and plain.states()[-1:] == ["free"], 10)
# Nothing comes behind it: no ringing after the end.
watch_until(lambda: False, 2)
check("BluStar is shown each step once and in order", desk.states() == expected, desk.states())
check("and the standard the calls", plain.states() == ["free"] + ["on the phone", "free"] * calls, plain.states())
for name, watcher in (("BluStar", desk), ("standard", plain)):
    print("     %-8s %s" % (name, ", ".join("%.2fs %s" % (max(0, at - begun), state) for at, state in watcher.seen)))
sys.exit(failures > 0)
