"""What a hostile process does inside a pod. Argument: a JSON list of steps. Prints what each got, as JSON."""
import ctypes
import json
import os
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True  # the folder is the repository's
import kernel_ways  # noqa: E402

PATIENCE = 1.5


def family_of(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def exhaust(s, own):
    """Leaves the socket no memory for options, which is where its storage is counted too."""
    try:
        for i in range(20000):
            group = socket.inet_aton("239.%d.%d.%d" % (i >> 16, (i >> 8) & 255, i & 255))
            s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton(own))
    except OSError:
        return


def prepare(step):
    if "netns" in step:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        ctypes.CDLL(None).setns(os.open(step["netns"], os.O_RDONLY), 0x40000000)
    family = socket.AF_INET6 if step.get("v6socket") else family_of(step["ip"])
    s = socket.socket(family, socket.SOCK_STREAM, step.get("protocol", 0))
    if "netns" in step:
        ctypes.CDLL(None).setns(home, 0x40000000)
    s.settimeout(step.get("patience", PATIENCE))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if "device" in step:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, step["device"].encode() + b"\0")
    if "source" in step:
        s.bind((step["source"], step.get("sport", 0)))
    if "route" in step:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 131, 7, 4]) + socket.inet_aton(step["route"]))
    if "exhaust" in step:
        exhaust(s, step["exhaust"])
    if step.get("passed"):
        a, b = socket.socketpair(socket.AF_UNIX)
        socket.send_fds(a, [b"x"], [s.fileno()])
        _, fds, _, _ = socket.recv_fds(b, 9, 1)
        s.close()
        s = socket.socket(fileno=fds[0])
        s.settimeout(PATIENCE)
    return s


def dial(step):
    s = None
    try:
        s = prepare(step)
        ip = "::ffff:" + step["ip"] if step.get("v6socket") else step["ip"]
        to = (ip, step["port"]) if "scope" not in step else (ip, step["port"], 0, socket.if_nametoindex(step["scope"]))
        if "uring" in step:
            kernel_ways.connect_by_io_uring(s, step["ip"], step["port"], step["uring"])
            s.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        elif step.get("fastopen"):
            s.settimeout(None)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                s.setsockopt(socket.SOL_SOCKET, option, struct.pack("qq", 2, 0))
            s.sendto(b"hello\n", socket.MSG_FASTOPEN, to)
        else:
            s.connect(to)
            if step.get("dissolve"):
                ctypes.CDLL(None).connect(s.fileno(), struct.pack("H14x", 0), 16)
                s.connect(to)
            s.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        return s.recv(200).decode("latin1")
    except (OSError, OverflowError) as error:
        return type(error).__name__
    finally:
        if s is not None:
            s.close()


squatters = []


def squat(step):
    """Listens where the mesh might, alone or in a group, and tells who came."""
    made = []
    for port in step["ports"]:
        for address in ("0.0.0.0", step["own"]):
            try:
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                s.bind((address, port))
                s.listen()
                squatters.append(s)
                made.append(port)
                threading.Thread(target=answer, args=(s,), daemon=True).start()
            except OSError:
                continue
    return sorted(set(made))


def answer(listener):
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"SQUATTER\n")
        connection.close()


def cgroup(step):
    with open(step["procs"], "w") as procs:
        procs.write(str(os.getpid()))
    return "moved"


def under_program(step):
    kernel_ways.live_under_a_program(step["group"], step["ip"], step["port"])
    return "moved"


def join(step):
    """An MPTCP connection within loopback, whose one end announces the addresses that the path manager was given."""
    mptcp = 262
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, mptcp)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", step["port"]))
    listener.listen()
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, mptcp)
    client.connect(("127.0.0.1", step["port"]))
    server, _ = listener.accept()
    # The kernel announces, and joins, once both have heard of each other.
    for _ in range(20):
        client.sendall(b"x")
        server.recv(9)
        server.sendall(b"y")
        client.recv(9)
        time.sleep(0.05)
    return "joined"


STEPS = {"dial": dial, "squat": squat, "cgroup": cgroup, "under-program": under_program, "join": join}
print(json.dumps([STEPS[step["do"]](step) for step in json.loads(sys.argv[1])]), flush=True)
os._exit(0)
