"""A Linphone: a process of client.py, told what to do and asked what it shows."""
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
