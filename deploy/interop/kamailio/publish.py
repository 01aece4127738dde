#!/usr/bin/env python3
"""Watches a line whose switchboard publishes its calls (RFC 4235 by PUBLISH): as a lamp, and as one of presence.

publish.py SERVER_PORT NUMBER CALLS -- COMMAND...     COMMAND makes so many calls, one after the other
Ends with 3 where the server takes no publications of dialogs.
"""

import re
import subprocess
import sys
import time

from phone import Phone

server, number, calls = ("127.0.0.1", int(sys.argv[1])), sys.argv[2], int(sys.argv[3])
command = sys.argv[5:]
uri = "sip:%s@127.0.0.1" % number
failures = 0


def check(what, true, more=""):
    global failures
    failures += not true
    print("%s %s%s" % ("PASS" if true else "FAIL", what, "" if true else ": %s" % (more,)))


def lamp(body):
    states = re.findall("<state[^>]*>([a-z]+)</state>", body)
    living = [state for state in states if state != "terminated"]
    return living[0] if living else "dark"


class Watcher:
    def __init__(self, name, event, accept, read):
        self.phone, self.read, self.seen = Phone(server, name), read, []
        self.answer = self.phone.ask("SUBSCRIBE", uri, "<%s>" % uri, name, 1,
                                     ["Event: " + event, "Accept: " + accept, "Expires: 600"])

    def look(self):
        notify = self.phone.notify(0.02)
        if notify is not None:
            state = self.read(notify.body)
            if not self.seen or self.seen[-1][1] != state:
                self.seen.append((time.monotonic(), state))

    def states(self):
        return [state for _, state in self.seen]


watchers = [
    Watcher("lamp", "dialog", "application/dialog-info+xml", lamp),
    Watcher("plain", "presence", "application/pidf+xml",
            lambda body: "on the phone" if "<rpid:on-the-phone" in body else "free"),
]
if watchers[0].answer.status == 489:
    sys.exit(3)
for watcher in watchers:
    check("%s may watch" % watcher.phone.name, watcher.answer.status == 200, watcher.answer.first)


def watch_until(so, patience):
    until = time.monotonic() + patience
    while not so() and time.monotonic() < until:
        for watcher in watchers:
            watcher.look()
    return so()


watch_until(lambda: all(watcher.seen for watcher in watchers), 10)
begun = time.monotonic()
caller = subprocess.Popen(command)
watch_until(lambda: caller.poll() is not None, 120)
check("the calls were made", caller.poll() == 0, caller.poll())
watch_until(lambda: False, 3)
# Who only tries is trying; a switchboard need not say so.
shown = [state for state in watchers[0].states() if state not in ("trying", "proceeding")]
expected = ["dark"] + ["early", "confirmed", "dark"] * calls
check("the lamp is shown each step once and in order", shown == expected, shown)
shown = watchers[1].states()
check("and presence the calls", shown == ["free"] + ["on the phone", "free"] * calls, shown)
for watcher in watchers:
    steps = ("%.2fs %s" % (max(0, at - begun), state) for at, state in watcher.seen)
    print("     %-8s %s" % (watcher.phone.name, ", ".join(steps)))
sys.exit(failures > 0)
