"""Namespaces with a bridge between them, and what can be done to the wires. Standard library only.

Every node and the clients live in network namespaces of their own, on a bridge in one more; nothing of it
touches the network of the machine. Names begin with the process number, so runs do not meet.
"""

import contextlib
import ctypes
import os
import random
import select
import signal
import socket
import struct
import subprocess
import heapq
import time

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def ip(*words, check=True):
    """Runs ip(8), within ten seconds."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=10)
    if check and done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done


def die_with_parent():
    """In a child: end when the driver does, whatever ends it."""
    LIBC.prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def inside(space):
    """Sockets that are opened in here belong to the namespace."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{space}", os.O_RDONLY)
    try:
        if LIBC.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {space}")
        yield
    finally:
        LIBC.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


class Wire:
    """The bridge, and a namespace for each of its ends."""

    CLIENTS = 100

    def __init__(self):
        self.name = f"lf{os.getpid()}"
        self.spaces = []
        self.slow = {}
        self.bridge = self._space("w")
        ip("-n", self.bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", self.bridge, "link", "set", "br0", "up")
        self.clients = self.attach(self.CLIENTS)

    def _space(self, suffix):
        space = f"{self.name}{suffix}"
        ip("netns", "add", space)
        self.spaces.append(space)
        ip("-n", space, "link", "set", "lo", "up")
        return space

    @staticmethod
    def address(number):
        return f"10.66.0.{number}"

    def space(self, number):
        return f"{self.name}n{number}"

    def attach(self, number):
        """A namespace with an address on the bridge."""
        space = self._space(f"n{number}")
        port = f"p{number}"
        ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.bridge)
        ip("-n", space, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", self.bridge, "link", "set", port, "master", "br0", "up")
        return space

    def deaf(self, number, to):
        """What these numbers send does not reach the node; `None` for anybody."""
        source = "iifname eth0" if to is None else f"ip saddr {{ {', '.join(map(self.address, to))} }}"
        rules = (
            "table inet faults {\n chain deaf {\n  type filter hook input priority 0; policy accept;\n"
            f"  {source} drop\n }}\n}}\n"
        )
        subprocess.run(
            ["ip", "netns", "exec", self.space(number), "nft", "-f", "-"],
            input=rules, text=True, check=True, timeout=10,
        )

    def hear(self, number):
        """Everything reaches the node again."""
        subprocess.run(
            ["ip", "netns", "exec", self.space(number), "nft", "flush", "ruleset"], check=True, timeout=10
        )

    def worsen(self, number, delay_ms, jitter_ms, loss):
        """Delays and loses packets of this end, both ways: tc netem where the kernel has it, else a relay."""
        port = f"p{number}"
        netem = ["delay", f"{delay_ms}ms", f"{jitter_ms}ms", "loss", f"{loss * 100}%"]
        tc = ["tc", "-n", self.bridge, "qdisc", "add", "dev", port, "root", "netem", *netem]
        back = ["tc", "-n", self.space(number), "qdisc", "add", "dev", "eth0", "root", "netem", *netem]
        if all(subprocess.run(one, capture_output=True, timeout=10).returncode == 0 for one in (tc, back)):
            self.slow[number] = None
            return "tc netem"
        for one in (["tc", "-n", self.bridge, "qdisc", "del", "dev", port, "root"],):
            subprocess.run(one, capture_output=True, timeout=10)
        inner, outer = f"i{number}", f"o{number}"
        ip("-n", self.bridge, "link", "add", inner, "type", "veth", "peer", "name", outer)
        ip("-n", self.bridge, "link", "set", inner, "up")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                die_with_parent()
                with inside(self.bridge):
                    relay(port, inner, delay_ms / 1000, jitter_ms / 1000, loss)
                code = 0
            finally:
                os._exit(code)
        self.slow[number] = child
        ip("-n", self.bridge, "link", "set", port, "nomaster")
        ip("-n", self.bridge, "link", "set", outer, "master", "br0", "up")
        return "a relay of packets (this kernel has no netem)"

    def mend(self, number):
        """The end is as it was."""
        if number not in self.slow:
            return
        child = self.slow.pop(number)
        port = f"p{number}"
        if child is None:
            subprocess.run(["tc", "-n", self.bridge, "qdisc", "del", "dev", port, "root"], timeout=10)
            subprocess.run(["tc", "-n", self.space(number), "qdisc", "del", "dev", "eth0", "root"], timeout=10)
            return
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        ip("-n", self.bridge, "link", "del", f"i{number}")
        ip("-n", self.bridge, "link", "set", port, "master", "br0", "up")

    def remove(self):
        """Takes everything away again."""
        for number in list(self.slow):
            with contextlib.suppress(Exception):
                self.mend(number)
        for space in self.spaces:
            with contextlib.suppress(Exception):
                ip("netns", "del", space, check=False)


def relay(one, other, delay, jitter, loss):
    """Carries frames between two ports, each later by its delay and some not at all. The order is kept.

    Frames are taken with the kernel's notes on checksums and segments, so that what the sending end left
    to its card needs no work here.
    """
    PACKET_VNET_HDR, SOL_PACKET, OUTGOING, HEADER = 15, 263, 4, 10
    ends = []
    for name in (one, other):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, struct.pack("i", 1))
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        end.bind((name, 3))
        end.setblocking(False)
        ends.append(end)
    waiting = []
    last = [0.0, 0.0]
    count = 0
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        ready, _, _ = select.select(ends, [], [], patience)
        now = time.monotonic()
        for end in ready:
            way = ends.index(end)
            for _ in range(64):
                try:
                    frame, origin = end.recvfrom(70000)
                except BlockingIOError:
                    break
                if origin[2] == OUTGOING or len(frame) <= HEADER or random.random() < loss:
                    continue
                last[way] = max(last[way], now + delay + random.uniform(-jitter, jitter))
                count += 1
                heapq.heappush(waiting, (last[way], count, 1 - way, frame))
        while waiting and waiting[0][0] <= now:
            _, _, way, frame = heapq.heappop(waiting)
            with contextlib.suppress(OSError):
                ends[way].send(frame)
