"""A headless Chromium with a page of SIP.js registers, publishes, watches and is told over WebSocket.

usage: drive.py CHROMIUM SIP.JS-FOLDER WORK-FOLDER ws[s]://SERVER UDP-PORT ADMIN-PORT DOMAIN PASSWORD [HOST-OF-PAGE]

The page is served here and reports here; alice's gateway is here as well, and speaks UDP. With a host of the page that
is none of the server's domains it is expected not to get in. Prints what the page was told; exit status 0 when that is
all it should have been told.
"""
import hashlib
import http.server
import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

chromium, library, work, server, udp, admin, domain, password = sys.argv[1:9]
page_host = sys.argv[9] if len(sys.argv) > 9 else "127.0.0.1"
here = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60
reports = queue.Queue()


class Pages(http.server.SimpleHTTPRequestHandler):
    """The page, the library, and a place for reports."""

    def translate_path(self, path):
        path = urllib.parse.urlsplit(path).path
        if path == "/":
            return os.path.join(here, "page.html")
        name = os.path.normpath(path).lstrip("/")
        if not name.startswith("sip.js/"):
            return os.path.join(work, "nothing-is-here")
        return os.path.join(library, name[len("sip.js/") :])

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reports.put(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Gateway:
    """Publishes alice's states over UDP, by Digest where it is asked."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        self.socket.bind(("127.0.0.1", 0))
        self.tag, self.cseq = "", 0

    def publish(self, basic, note):
        uri = f"sip:alice@{domain}"
        body = (
            f'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="{uri}"><tuple id="g"><status><basic>{basic}</basic>'
            f"</status><note>{note}</note></tuple></presence>"
        ).encode()
        answer = self.ask(uri, body, "")
        challenge = re.search(r"WWW-Authenticate: (Digest .*algorithm=MD5)", answer)
        if answer.startswith("SIP/2.0 401") and challenge:
            of = dict(re.findall(r'(\w+)="([^"]*)"', challenge.group(1)))
            md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
            own, asked = md5(f"alice:{of['realm']}:{password}"), md5(f"PUBLISH:{uri}")
            proof = md5(f"{own}:{of['nonce']}:00000001:c:auth:{asked}")
            answer = self.ask(
                uri,
                body,
                f'Authorization: Digest username="alice", realm="{of["realm"]}", nonce="{of["nonce"]}", uri="{uri}", '
                f'qop=auth, nc=00000001, cnonce="c", response="{proof}", algorithm=MD5\r\n',
            )
        if not answer.startswith("SIP/2.0 200"):
            raise SystemExit(f"the gateway was answered {answer}")
        self.tag = re.search(r"SIP-ETag: (\S+)", answer).group(1)

    def ask(self, uri, body, lines):
        self.cseq += 1
        local = "127.0.0.1:%d" % self.socket.getsockname()[1]
        match = f"SIP-If-Match: {self.tag}\r\n" if self.tag else ""
        head = (
            f"PUBLISH {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{os.getpid()}-{self.cseq}\r\n"
            f"Max-Forwards: 70\r\nFrom: <{uri}>;tag=gw\r\nTo: <{uri}>\r\nCall-ID: {os.getpid()}@browser\r\n"
            f"CSeq: {self.cseq} PUBLISH\r\nEvent: presence\r\nExpires: 300\r\n{match}{lines}"
            f"Content-Type: application/pidf+xml\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.socket.sendto(head.encode() + body, ("127.0.0.1", int(udp)))
        return self.socket.recv(65535).decode()


def expect(what, detail=None):
    """Waits for a report; complaints of the page end the wait."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            got, said = reports.get(timeout=max(0.1, until - time.monotonic()))
        except queue.Empty:
            raise SystemExit(f"the page did not say {what} {detail or ''}")
        print(f"  {got} {said}", flush=True)
        if got == what and detail in (None, said):
            return
        if got in ("failed", "rejected") and what not in ("failed", "rejected"):
            raise SystemExit(f"the page says {got}: {said}")


def main():
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    query = urllib.parse.urlencode({"server": server, "domain": domain, "password": password})
    address = f"http://{page_host}:{pages.server_address[1]}/?{query}"
    with open(os.path.join(work, "chromium.log"), "ab") as log:
        browser = subprocess.Popen(
            [
                chromium,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--ignore-certificate-errors",
                f"--host-resolver-rules=MAP {page_host} 127.0.0.1",
                f"--user-data-dir={work}/profile",
                address,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        if page_host != "127.0.0.1":
            expect("failed")
            metrics = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics").read().decode()
            refused = sum(int(count) for count in re.findall(r"handshakes_failed\S* (\d+)", metrics))
            if refused != 1:
                raise SystemExit(f"{refused} handshakes were refused, and one page asked")
            return
        expect("connected")
        expect("registered")
        expect("told")
        gateway = Gateway()
        gateway.publish("open", "in the office")
        expect("told", ["open", "in the office"])
        view = urllib.request.urlopen(f"http://127.0.0.1:{admin}/presentity/sip:bob@{domain}").read().decode()
        if "in a browser" not in view or ".invalid" not in view:
            raise SystemExit(f"bob's own state or endpoint is missing: {view}")
        # Longer than the page's own keep-alives take to come and go.
        time.sleep(3)
        gateway.publish("closed", "gone home — bis morgen")
        expect("told", ["closed", "gone home — bis morgen"])
        expect("done")
        view = urllib.request.urlopen(f"http://127.0.0.1:{admin}/presentity/sip:bob@{domain}").read().decode()
        if ".invalid" in view:
            raise SystemExit(f"bob is registered still: {view}")
    finally:
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


main()
