#!/usr/bin/env python3
"""A headless Chromium looks at the dashboard of a node that runs, wide and narrow, light and dark.

    look.py CHROMIUM WORK SIP-PORT ADMIN-PORT [SCREENSHOTS]

Somebody publishes, somebody watches, somebody is refused; the page is to show all of it, without one complaint of the
browser. Screenshots are left in SCREENSHOTS, where one is named.
"""
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "together"))

from browser import Browser  # noqa: E402
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
    browser = Browser(chromium, os.path.join(work, "chromium"))
    try:
        text = lambda place: f"document.getElementById('{place}').innerText"
        for name, width, height, dark in (("wide", 1280, 1500, False), ("wide-dark", 1280, 1500, True), ("phone", 390, 844, False)):
            # A link may name the user to look at.
            browser.show(f"http://127.0.0.1:{admin}/#user=alice@example.com", width, height, dark)
            check(browser.wait(f"{text('state')} === 'ready'"), f"{name}: it is ready, as it says")
            check(browser.wait(f"{text('who')}.includes('node 1') && {text('who')}.includes('example.com')"), f"{name}: whose page it is")
            check(browser.wait("document.querySelectorAll('.replica.leads').length >= 2"), f"{name}: who leads each shard")
            rate = "parseFloat(document.querySelector('#tiles .tile b').innerText)"
            check(browser.wait(f"{rate} > 5 && {rate} < 25"), f"{name}: publications per second ({browser.value(rate)})")
            told = f"{text('person')}.includes('sip:bob@example.com') && {text('person')}.includes('round ')"
            check(browser.wait(told), f"{name}: alice, what is seen of her and who sees it")
            check(browser.wait(f"{text('refused')}.includes('489') && {text('refused')}.includes('Bad Event')"), f"{name}: who was refused, and why")
            fits = "document.documentElement.scrollWidth <= innerWidth"
            check(browser.value(fits), f"{name}: nothing reaches beyond the window")
            time.sleep(3)
            browser.screenshot(os.path.join(screenshots, f"dashboard-{name}.png"))
        # By keyboard alone: past the links to the field, a name, Enter.
        browser.show(f"http://127.0.0.1:{admin}/", 1280, 900)
        browser.wait(f"{text('state')} === 'ready'")
        for _ in range(30):
            browser.press("Tab")
            if browser.value("document.activeElement.id") == "address":
                break
        check(browser.value("document.activeElement.id") == "address", "the field is reached by keyboard")
        browser.ask("Input.insertText", text="alice@example.com")
        browser.press("Enter")
        check(browser.wait(f"{text('person')}.includes('round ')"), "and asked by Enter")
        check(not browser.complaints, f"the browser has nothing to complain of {browser.complaints[:3]}")
    finally:
        running = False
        busy.join(3)
        browser.end()
        alice.end()
        bob.end()
    print("ALL PASSED" if not failed else f"FAILED: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
