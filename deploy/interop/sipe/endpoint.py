"""One endpoint: a process of the headless SIPE client, told what to do and asked what it saw."""
import html
import json
import os
import subprocess
import threading
import time


class Endpoint:
    def __init__(self, client, work, name, user, password, host, port, transport, pc):
        self.name, self.events, self.told = name, [], threading.Condition()
        # What libpurple remembers of an earlier life must not help this one.
        home = os.path.join(work, f"{name}-{time.time_ns()}")
        os.makedirs(home)
        command = [client, "--server", f"{host}:{port}", "--transport", transport, "--user", user,
                   "--password", password, "--auth", "ntlm", "--host", pc, "--dir", home,
                   "--trace", os.path.join(work, f"{name}.trace")]
        if transport == "tls":
            command.append("--accept-certs")
        errors = open(os.path.join(work, f"{name}.stderr"), "w")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                        text=True, encoding="utf-8", errors="replace",
                                        env=dict(os.environ, LC_ALL="C.UTF-8"))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            self._tell(event)
        self._tell({"ev": "process-ended"})

    def _tell(self, event):
        with self.told:
            self.events.append(event)
            self.told.notify_all()

    def say(self, command):
        """Gives a command; the place in the events from which its consequences come."""
        with self.told:
            place = len(self.events)
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass
        return place

    def wait(self, wanted, since=0, seconds=3.0):
        """The first event that is wanted, or None."""
        until = time.monotonic() + seconds
        with self.told:
            while True:
                while since < len(self.events):
                    if wanted(self.events[since]):
                        return self.events[since]
                    since += 1
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self.told.wait(left)

    def signed_on(self, since=0, seconds=15):
        event = self.wait(lambda e: e["ev"] in ("signed-on", "connection-error", "process-ended"), since, seconds)
        return event and event["ev"] == "signed-on"

    def contacts(self):
        """The contact list: of each address its group and whether it is blocked."""
        place = self.say("list")
        self.wait(lambda e: e["ev"] == "list-end", place)
        with self.told:
            rows = [e for e in self.events[place:] if e["ev"] == "list"]
        return {row["who"]: (row["group"], row["blocked"]) for row in rows}

    def end(self):
        self.say("quit")
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            self.process.kill()


def sees(who, status, note=None):
    """An event by which somebody is seen in a state, with a note."""
    def wanted(event):
        return (event["ev"] == "buddy-status" and event.get("who") == who and event.get("status") == status
                and (note is None or note in html.unescape(event.get("message") or "")))
    return wanted


class Checks:
    def __init__(self):
        self.failed = self.number = 0

    def that(self, truth, what, otherwise=""):
        self.number += 1
        self.failed += not truth
        print(f"{'PASS' if truth else 'FAIL'}  {what}{'' if truth else f'   [{otherwise}]'}", flush=True)
        return bool(truth)

    def finish(self):
        print(f"{'ALL PASSED' if not self.failed else 'FAILED'}: {self.number} checks, {self.failed} failed")
        return 1 if self.failed else 0
