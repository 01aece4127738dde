"""A phone of a few lines: requests over a datagram socket, and what comes back."""

import re
import socket
import time


class Message:
    """A SIP message, taken apart."""

    def __init__(self, data, peer):
        head, _, self.body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        lines = head.split("\r\n")
        self.first, self.peer = lines[0], peer
        self.lines = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]

    def all(self, name):
        return [value for known, value in self.lines if known.lower() == name.lower()]

    def one(self, name):
        return (self.all(name) or [""])[0]

    @property
    def status(self):
        return int(self.first.split(" ")[1]) if self.first.startswith("SIP/2.0") else None


class Phone:
    def __init__(self, server, name):
        self.server, self.name, self.kept, self.number = server, name, [], 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.here = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def receive(self, until):
        """The next message; requests are answered with 200."""
        self.socket.settimeout(max(0.01, until - time.monotonic()))
        try:
            data, peer = self.socket.recvfrom(65535)
        except socket.timeout:
            return None
        message = Message(data, peer)
        if message.status is None:
            copied = ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"]
            lines = ["%s: %s" % (name, value) for name in copied for value in message.all(name)]
            answer = "\r\n".join(["SIP/2.0 200 OK"] + lines + ["Content-Length: 0", "", ""])
            self.socket.sendto(answer.encode(), peer)
        return message

    def ask(self, method, uri, to, call, cseq, lines, body="", user=None):
        """Sends a request until there is a final answer."""
        self.number += 1
        user = user or "sip:%s@example.com" % self.name
        head = [
            "%s %s SIP/2.0" % (method, uri),
            "Via: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s%d" % (self.here, call, self.number),
            "Max-Forwards: 70",
            "From: <%s>;tag=f%s" % (user, call),
            "To: %s" % to,
            "Call-ID: %s" % call,
            "CSeq: %d %s" % (cseq, method),
            "Contact: <sip:%s@%s>" % (self.name, self.here),
        ]
        text = "\r\n".join(head + lines + ["Content-Length: %d" % len(body), "", body]).encode()
        for wait in (0.5, 1, 2, 4, 4):
            self.socket.sendto(text, self.server)
            until = time.monotonic() + wait
            while time.monotonic() < until:
                message = self.receive(until)
                if message is None:
                    break
                if message.status is None:
                    self.keep(message)
                elif message.status >= 200 and message.one("CSeq") == "%d %s" % (cseq, method):
                    return message
        raise SystemExit("FAIL no answer to %s %s" % (method, uri))

    def keep(self, request):
        """A retransmission is not kept."""
        known = (request.one("Call-ID"), request.one("CSeq"))
        if all((kept.one("Call-ID"), kept.one("CSeq")) != known for kept in self.kept):
            self.kept.append(request)

    def notify(self, patience=10):
        """The next NOTIFY, or None."""
        until = time.monotonic() + patience
        while not self.kept and time.monotonic() < until:
            message = self.receive(until)
            if message is not None and message.status is None:
                self.keep(message)
        return self.kept.pop(0) if self.kept else None


def tag(value):
    found = re.search(r";\s*tag=([^;>\s]+)", value)
    return found.group(1) if found else ""


def document(user, note):
    return (
        '<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:%s@example.com">'
        '<tuple id="t1"><status><basic>open</basic></status><note>%s</note></tuple></presence>' % (user, note)
    )
