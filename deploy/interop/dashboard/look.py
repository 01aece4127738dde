#!/usr/bin/env python3
"""A headless Chromium looks at the dashboard of a node that runs, wide and narrow, light and dark.

    look.py CHROMIUM WORK SIP-PORT ADMIN-PORT [SCREENSHOTS]

Somebody publishes, somebody watches, somebody is refused; the page is to show all of it, without one complaint of the
browser. Screenshots are left in SCREENSHOTS, where one is named.
"""
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "together"))

from phone import Phone  # noqa: E402

STATE = (
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com"><tuple id="t"><status><basic>open</basic>'
    "</status><note>round %d</note></tuple></presence>"
)


def main():
    chromium, work, sip, admin = sys.argv[1:5]
    screenshots = sys.argv[5] if len(sys.argv) > 5 else work
    os.makedirs(screenshots, exist_ok=True)
    failed = 0

    def check(truth, what):
        nonlocal failed
        failed += not truth
        print(f"{'PASS' if truth else 'FAIL'}  {what}", flush=True)

    alice = Phone(int(sip), "alice", "example.com", "Telephone/1")
    bob = Phone(int(sip), "bob", "example.com", "Telephone/1")
    tag = alice.publish("presence", "application/pidf+xml", STATE % 0)
    bob.subscribe("sip:alice@example.com", "presence", lines="Accept: application/pidf+xml\r\n")
    try:
        bob.ask("PUBLISH", "sip:bob@example.com", "sip:bob@example.com", "Event: weather\r\nExpires: 60\r\n", "")
    except RuntimeError:
        pass
    running = True

    def go_on():
        nonlocal tag
        number = 0
        while running:
            number += 1
            tag = alice.publish("presence", "application/pidf+xml", STATE % number, tag)
            time.sleep(0.05)

    busy = threading.Thread(target=go_on, daemon=True)
    busy.start()
    try:
        for name, size, dark in (("wide", "1280,1500", False), ("wide-dark", "1280,1500", True), ("phone", "390,844", False)):
            folder = os.path.join(work, f"chromium-{name}")
            command = [
                chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
                f"--user-data-dir={folder}", f"--window-size={size}", "--enable-logging=stderr", "--v=0",
                "--virtual-time-budget=6000", f"--screenshot={os.path.join(screenshots, f'dashboard-{name}.png')}",
                "--dump-dom", *(["--blink-settings=preferredColorScheme=0"] if dark else []),
                f"http://127.0.0.1:{admin}/#user=alice@example.com",
            ]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            page = ran.stdout
            said = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
            check(not said, f"{name}: the browser has nothing to complain of {said[:3]}")
            text = re.sub(r"<[^>]*>", " ", page)
            state = re.search(r'id="state"[^>]*>([^<]*)<', page)
            check(state and state.group(1) == "ready", f"{name}: it is ready, as it says ({state and state.group(1)})")
            check("node 1" in text and "example.com" in text, f"{name}: whose page it is")
            check(len(re.findall(r'class="replica leads"', page)) >= 2, f"{name}: who leads each shard")
            rate = re.search(r"publications, per second</span><b>([\d.]+)", page)
            check(rate and float(rate.group(1)) > 1, f"{name}: publications per second ({rate and rate.group(1)})")
            check("sip:bob@example.com" in text and "round " in text, f"{name}: alice, what is seen of her and who sees it")
            check("489" in text and "Bad Event" in text, f"{name}: who was refused, and why")
    finally:
        running = False
        busy.join(3)
        alice.end()
        bob.end()
    print("ALL PASSED" if not failed else f"FAILED: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
