#!/usr/bin/env python3
"""Registers, publishes and watches through a proxy that stays in the way: proxy.py PROXY_PORT"""

import sys
import time

from phone import Phone, document, tag

proxy = ("127.0.0.1", int(sys.argv[1]))
failures = 0


def check(what, true, more=""):
    global failures
    failures += not true
    print("%s %s%s" % ("PASS" if true else "FAIL", what, "" if true else ": %s" % more))


def through(notify, what):
    check(what + " is there", notify is not None)
    if notify is None:
        raise SystemExit(1)
    check(what + " comes back through the proxy", notify.peer == proxy and len(notify.all("Via")) == 2, notify.lines)
    check(what + " has lost its route on the way", not notify.all("Route"), notify.all("Route"))


phone = Phone(proxy, "carol")
uri = "sip:alice@example.com"
register = phone.ask("REGISTER", "sip:example.com", "<sip:carol@example.com>", "reg", 1,
                     ["Supported: path", "Expires: 600"])
check("REGISTER is answered 200", register.status == 200, register.first)

lines = ["Event: presence", "Accept: application/pidf+xml", "Expires: 600"]
first = phone.ask("SUBSCRIBE", uri, "<%s>" % uri, "sub", 1, lines)
check("SUBSCRIBE is answered 200", first.status == 200, first.first)
routes = first.all("Record-Route")
check("the answer has the proxy's Record-Route", len(routes) == 1 and str(proxy[1]) in routes[0], routes)
through(phone.notify(), "the first NOTIFY")

publish = phone.ask("PUBLISH", uri, "<%s>" % uri, "pub", 1,
                    ["Event: presence", "Expires: 600", "Content-Type: application/pidf+xml"],
                    document("alice", "through the proxy"), user=uri)
check("PUBLISH is answered 200 with a tag", publish.status == 200 and publish.one("SIP-ETag"), publish.lines)
begun = time.monotonic()
told = phone.notify()
through(told, "the NOTIFY of the change")
check("it is the change, within a second", "through the proxy" in told.body and time.monotonic() - begun < 1, told.body)

# A refresh and the end, inside the dialog: to the Contact of the answer, by its Record-Route.
target = first.one("Contact").strip("<>").split(">")[0]
inside = ["Route: " + routes[0]] + lines
to = "<%s>;tag=%s" % (uri, tag(first.one("To")))
refresh = phone.ask("SUBSCRIBE", target, to, "sub", 2, inside)
check("a refresh in the dialog is answered 200", refresh.status == 200, refresh.first)
told = phone.notify()
through(told, "the NOTIFY of the refresh")
check("it has the whole state", "through the proxy" in told.body, told.body)

removed = phone.ask("PUBLISH", uri, "<%s>" % uri, "pub", 2,
                    ["Event: presence", "Expires: 0", "SIP-If-Match: " + publish.one("SIP-ETag")], user=uri)
check("the publication is removed", removed.status == 200, removed.first)
told = phone.notify()
through(told, "the NOTIFY of the removal")
check("it is gone", "through the proxy" not in told.body, told.body)

end = phone.ask("SUBSCRIBE", target, to, "sub", 3, inside[:-1] + ["Expires: 0"])
check("the end is answered 200", end.status == 200, end.first)
told = phone.notify()
through(told, "the last NOTIFY")
check("it says so", told.one("Subscription-State").startswith("terminated"), told.lines)
sys.exit(failures > 0)
