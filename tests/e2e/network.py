"""Machines of their own for the nodes of a cluster: network namespaces behind one router, in which ways can be cut.

Nothing of it is seen outside: the router is a namespace too, which the thread that makes a Network is in until close(),
and all of them are gone with the process.  It takes root.
"""

import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
HERE = "/proc/thread-self/ns/net"
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter(namespace):
    """The calling thread and the processes that it starts from now on."""
    call(libc.setns, namespace, CLONE_NEWNET)


def missing():
    """Why there can be no Network here; None: there can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    if not shutil.which("ip"):
        return "network namespaces take the program ip, of the package iproute2"
    try:
        Network(0).close()
    except (OSError, subprocess.CalledProcessError) as problem:
        return f"this kernel gives no network namespaces: {problem}"
    return None


class Network:
    """A router with so many machines around it, numbered from 1.  Machine n has the address address(n)."""

    def __init__(self, machines):
        self.home, self.cuts = os.open(HERE, os.O_RDONLY), set()
        self.namespaces = [self.make() for _ in range(machines + 1)]
        self.router = self.namespaces.pop(0)
        enter(self.router)
        self.ip("link", "set", "lo", "up")
        for number, namespace in enumerate(self.namespaces, 1):
            self.connect(number, namespace)
        with open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
            forward.write("1")

    def make(self):
        call(libc.unshare, CLONE_NEWNET)
        try:
            return os.open(HERE, os.O_RDONLY)
        finally:
            enter(self.home)

    def connect(self, number, namespace):
        inside = f"/proc/self/fd/{namespace}"
        self.ip("link", "add", f"to{number}", "type", "veth", "peer", "name", "up0", "netns", inside)
        self.ip("addr", "add", f"10.77.{number}.1/24", "dev", f"to{number}")
        self.ip("link", "set", f"to{number}", "up")
        enter(namespace)
        try:
            self.ip("link", "set", "lo", "up")
            self.ip("addr", "add", f"{self.address(number)}/24", "dev", "up0")
            self.ip("link", "set", "up0", "up")
            self.ip("route", "add", "default", "via", f"10.77.{number}.1")
        finally:
            enter(self.router)

    def ip(self, *words):
        subprocess.run(["ip", *words], check=True, timeout=30, pass_fds=self.namespaces)

    def address(self, number):
        return f"10.77.{number}.2"

    def move_in(self, number):
        """Into a machine; for what a new process does before it runs its program."""
        enter(self.namespaces[number - 1])

    def cut(self, sender, receiver):
        """What one sends to the other is lost without a word; the other way stays open."""
        self.rule("add", sender, receiver)
        self.cuts.add((sender, receiver))

    def heal(self):
        while self.cuts:
            self.rule("del", *self.cuts.pop())

    def rule(self, act, sender, receiver):
        way = ["from", self.address(sender), "to", self.address(receiver)]
        self.ip("rule", act, *way, "priority", "10", "blackhole")

    def close(self):
        enter(self.home)
        for descriptor in [*self.namespaces, self.router, self.home]:
            os.close(descriptor)
