"""Publishes one state of one user over UDP, modifying what an earlier call published.

usage: publish.py PORT USER open|closed NOTE
"""
import os
import re
import socket
import sys
import tempfile

port, user, basic, note = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
remembered = os.path.join(tempfile.gettempdir(), f"lamplight-interop-{os.getppid()}-{port}-{user}")
tag = open(remembered).read() if os.path.exists(remembered) else ""
body = (
    f'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:{user}@127.0.0.1"><tuple id="t1">'
    f"<status><basic>{basic}</basic></status><note>{note}</note></tuple></presence>"
)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.bind(("127.0.0.1", 0))
local = "127.0.0.1:%d" % sock.getsockname()[1]
match = f"SIP-If-Match: {tag}\r\n" if tag else ""
message = (
    f"PUBLISH sip:{user}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{os.getpid()}\r\n"
    f"Max-Forwards: 70\r\nFrom: <sip:{user}@127.0.0.1>;tag=gw\r\nTo: <sip:{user}@127.0.0.1>\r\n"
    f"Call-ID: {os.getpid()}@interop\r\nCSeq: 1 PUBLISH\r\nEvent: presence\r\nExpires: 300\r\n{match}"
    f"Content-Type: application/pidf+xml\r\nContent-Length: {len(body)}\r\n\r\n{body}"
)
sock.sendto(message.encode(), ("127.0.0.1", port))
answer = sock.recv(65535).decode()
if not answer.startswith("SIP/2.0 200"):
    sys.exit(answer)
with open(remembered, "w") as file:
    file.write(re.search(r"SIP-ETag: (\S+)", answer).group(1))
