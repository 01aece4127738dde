#!/usr/bin/env python3
"""Everybody on one desk: a gateway, a BluStar client, a Linphone, a SIPE, a telephone and a lamp watch one user.

    run.py WORK SERVER-PORT SIPE-CLIENT

Alice is signed in with SIPE; the gateway tells her calls. Each change is to be seen by each watcher, in its own words,
within a second; who saw what, and after how many milliseconds, is printed as a table.
"""
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "sipe"), os.path.join(HERE, "..", "linphone")]

from endpoint import Endpoint  # noqa: E402
from linphone import Linphone  # noqa: E402
from phone import Phone  # noqa: E402

DOMAIN, LIMIT_S = "example.com", 1.0
ALICE = f"sip:alice@{DOMAIN}"
PIDF = "application/pidf+xml"
DIALOG_INFO = "application/dialog-info+xml"
CALL = (
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:ep="urn:ietf:params:xml:ns:pidf:status:rpid-status" '
    f'entity="{ALICE}"><tuple id="0"><status><basic>open</basic><ep:activities><ep:activity>on-the-phone</ep:activity>'
    "</ep:activities></status></tuple></presence>"
)
DIALOG = (
    '<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" '
    f'entity="{ALICE}"><dialog id="call" direction="recipient"><state>%s</state></dialog></dialog-info>'
)
LIST = (
    '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>'
    f'<entry uri="sip:dave@{DOMAIN}"/><entry uri="{ALICE}"/></list></resource-lists>'
)


def words_of_sipe(event):
    if event["ev"] == "buddy-status" and event.get("who") == ALICE:
        return event.get("status")
    return None


def words_of_linphone(line):
    if line.get("friend") == f"alice@{DOMAIN}":
        return line.get("activity") or line["shown"]
    return None


def words_of_blustar(body):
    """The status that the client shows, from the document about alice."""
    if f'entity="{ALICE}"' not in body:
        return None
    activities = re.search(r"<rpid:activities>(.*?)</rpid:activities>", body, re.S)
    said = re.findall(r"<rpid:note[^>]*>([^<]*)</rpid:note>", activities.group(1)) if activities else []
    return (said or [""])[0].lower() or None


def words_of_phone(body):
    """What a plain telephone reads: basic, and the first activity."""
    basic = re.search(r"<basic>(\w+)</basic>", body)
    activity = re.search(r"<(?:\w+:)?activities>\s*(?:<(?:\w+:)?note[^>]*>[^<]*</(?:\w+:)?note>)?<(?:\w+:)?([\w-]+)/>", body)
    return activity.group(1) if activity else basic and basic.group(1)


def words_of_lamp(body):
    """A busy lamp is lit or not."""
    if "<dialog-info" not in body:
        return None
    return "lit" if re.search(r"<state[^>]*>\s*(?:confirmed|early|proceeding|trying)", body) else "dark"


class Watcher:
    """Somebody who watches alice: where what it is told collects, and how it reads that."""

    def __init__(self, name, collected, condition, read, expected):
        self.name, self.collected, self.condition, self.read, self.expected = name, collected, condition, read, expected
        self.place = 0

    def mark(self):
        with self.condition:
            self.place = len(self.collected)

    def sees(self, change, since, seconds):
        """The milliseconds until it sees what it should at this change; or None, and what it saw last."""
        wanted = self.expected[change]
        until = since + seconds
        with self.condition:
            while True:
                for said in self.collected[self.place:]:
                    if self.read(said) in wanted:
                        return round((time.monotonic() - since) * 1000), self.read(said)
                left = until - time.monotonic()
                if left <= 0:
                    seen = [self.read(said) for said in self.collected if self.read(said)]
                    return None, seen[-1] if seen else "nothing"
                self.condition.wait(left)


def main():
    work, port, sipe = sys.argv[1:4]
    ends = []

    def keep(one):
        ends.append(one)
        return one

    try:
        alice = keep(Endpoint(sipe, work, "alice", f"alice@{DOMAIN}", "a", "127.0.0.1", port, "tcp", "pc-alice"))
        bob = keep(Endpoint(sipe, work, "bob", f"bob@{DOMAIN}", "b", "127.0.0.1", port, "tcp", "pc-bob"))
        for one in (alice, bob):
            if not one.signed_on():
                sys.exit(f"FAILED: {one.name} cannot sign in")
        # What it is told before it has its contact list is lost with that.
        time.sleep(1.5)
        bob.say(f'add {ALICE} "Desk"')
        carol = keep(Linphone(work, "carol", [str(int(port) + 2), port, "udp", f"carol@{DOMAIN}", f"alice@{DOMAIN}"]))
        if not carol.shows(registered=True, seconds=20):
            sys.exit("FAILED: carol's Linphone cannot register")
        dave = keep(Phone(int(port), "dave", DOMAIN, "Aastra BluStar Client/3.0.0.0"))
        dave.subscribe(f"sip:rls@{DOMAIN}", "presence", body=LIST, lines=(
            "Require: recipient-list-subscribe\r\nContent-Type: application/resource-lists+xml\r\n"
            "Content-Disposition: recipient-list\r\n"))
        erin = keep(Phone(int(port), "erin", DOMAIN, "Telephone/1"))
        erin.subscribe(ALICE, "presence", lines=f"Accept: {PIDF}\r\n")
        frank = keep(Phone(int(port), "frank", DOMAIN, "Lamp/1"))
        frank.subscribe(ALICE, "dialog", lines=f"Accept: {DIALOG_INFO}\r\n")
        gateway = keep(Phone(int(port), "alice", DOMAIN, "Mediant/v.7.20A.001.080"))
        switchboard = keep(Phone(int(port), "alice", DOMAIN, "Switchboard/1"))
        watchers = [
            Watcher("SIPE", bob.events, bob.told, words_of_sipe, {
                "busy": ["busy"], "a call": ["busy"], "hangs up": ["available"], "away": ["away"], "leaves": ["offline"]}),
            Watcher("Linphone", carol.lines, carol.told, words_of_linphone, {
                "busy": ["busy"], "a call": ["on-the-phone"], "hangs up": ["online"], "away": ["away", "busy"],
                "leaves": ["offline"]}),
            Watcher("BluStar", dave.bodies, dave.told, words_of_blustar, {
                "busy": ["busy"], "a call": ["in a call"], "hangs up": ["available"], "away": ["away"],
                "leaves": ["signed out", "offline"]}),
            Watcher("telephone", erin.bodies, erin.told, words_of_phone, {
                "busy": ["busy"], "a call": ["on-the-phone"], "hangs up": ["open"], "away": ["away"], "leaves": ["closed"]}),
            Watcher("lamp", frank.bodies, frank.told, words_of_lamp, {"a call": ["lit"], "hangs up": ["dark"]}),
        ]
        time.sleep(3)

        tag, line = None, None

        # The gateway says that she is on the phone; her switchboard, which lamps are for, says which call it is.
        def call():
            nonlocal tag, line
            tag = gateway.publish("presence", PIDF, CALL)
            line = switchboard.publish("dialog", DIALOG_INFO, DIALOG % "confirmed")

        def hang_up():
            gateway.publish("presence", PIDF, "", tag, 0)
            switchboard.publish("dialog", DIALOG_INFO, DIALOG % "terminated", line)

        changes = [
            ("busy", lambda: alice.say("status busy")),
            ("back", lambda: alice.say("status available")),
            ("a call", call),
            ("hangs up", hang_up),
            ("away", lambda: alice.say("status away")),
            ("leaves", alice.end),
        ]
        rows, late = [], 0
        for change, act in changes:
            for watcher in watchers:
                watcher.mark()
            began = time.monotonic()
            act()
            # SIPE gathers changes for a second before it publishes them; that second is not the server's.
            allowed = LIMIT_S if act in (call, hang_up) else LIMIT_S + 1.5

            def cell(watcher):
                if change not in watcher.expected:
                    return "-"
                took, said = watcher.sees(change, began, allowed)
                return f"{said} ({took} ms)" if took is not None else f"MISSED, shows {said}"

            with ThreadPoolExecutor(len(watchers)) as together:
                cells = list(together.map(cell, watchers))
            late += sum(shown.startswith("MISSED") for shown in cells)
            rows.append([change, *cells])
            time.sleep(1.5)
        table = [["alice", *(watcher.name for watcher in watchers)], *(row for row in rows if set(row[1:]) != {"-"})]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        print("ALL SEEN" if not late else f"FAILED: {late} not seen in time")
        return 1 if late else 0
    finally:
        for one in ends:
            one.end()


if __name__ == "__main__":
    sys.exit(main())
