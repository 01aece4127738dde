"""A small SIP telephone over UDP: it publishes, subscribes, and keeps what it is told."""
import re
import socket
import threading
import time
import uuid


class Phone:
    def __init__(self, port, user, domain, agent):
        self.user, self.domain, self.agent = user, domain, agent
        self.server = ("127.0.0.1", port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.local = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.told, self.bodies, self.answers, self.tags = threading.Condition(), [], {}, {}
        self.open = True
        threading.Thread(target=self._listen, daemon=True).start()

    def end(self):
        self.open = False
        self.socket.close()

    def publish(self, event, media, body, tag=None, expires=600, lines=""):
        """Publishes; the entity-tag of what it published. Without a body it removes or refreshes what has the tag."""
        if tag:
            lines += f"SIP-If-Match: {tag}\r\n"
        lines += f"Event: {event}\r\nExpires: {expires}\r\n"
        if body:
            lines += f"Content-Type: {media}\r\n"
        answer = self.ask("PUBLISH", f"sip:{self.user}@{self.domain}", f"sip:{self.user}@{self.domain}", lines, body)
        found = re.search(r"(?i)^SIP-ETag:\s*(\S+)", answer, re.M)
        return found and found.group(1)

    def subscribe(self, uri, event, lines="", body="", expires=300):
        """Subscribes; every NOTIFY is answered and kept in `bodies`."""
        return self.ask("SUBSCRIBE", uri, uri, f"Event: {event}\r\nExpires: {expires}\r\n{lines}", body)

    def ask(self, method, uri, to, lines, body):
        """Asks once, patiently; the answer, which must be well."""
        call, branch = uuid.uuid4().hex, "z9hG4bK" + uuid.uuid4().hex[:12]
        request = (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {self.local};rport;branch={branch}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{self.user}@{self.domain}>;tag={call[:8]}\r\nTo: <{to}>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:{self.user}@{self.local}>\r\nUser-Agent: {self.agent}\r\n{lines}"
            f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
        ).encode()
        until = time.monotonic() + 5
        while time.monotonic() < until:
            self.socket.sendto(request, self.server)
            with self.told:
                self.told.wait_for(lambda: branch in self.answers, 0.5)
                answer = self.answers.pop(branch, None)
            if answer:
                if not answer.startswith("SIP/2.0 20"):
                    raise RuntimeError(f"{method} {uri}: {answer.splitlines()[0]}")
                return answer
        raise RuntimeError(f"{method} {uri}: no answer")

    def _listen(self):
        while self.open:
            try:
                message, peer = self.socket.recvfrom(65_535)
            except OSError:
                return
            message = message.decode("utf-8", "replace")
            head, _, body = message.partition("\r\n\r\n")
            with self.told:
                if head.startswith("SIP/2.0 "):
                    self.answers[re.search(r"branch=([^;\s,]+)", head).group(1)] = message
                else:
                    copied = [line for line in head.split("\r\n")[1:]
                              if re.match(r"(?i)(via|from|to|call-id|cseq)\s*:", line)]
                    answer = "\r\n".join(["SIP/2.0 200 OK", *copied, "Content-Length: 0", "", ""])
                    self.socket.sendto(answer.encode(), peer)
                    self.bodies.append(body)
                self.told.notify_all()
