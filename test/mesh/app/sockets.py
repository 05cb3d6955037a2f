"""Connects in each manner that is asked for, to a port that greets each client with its address; prints a JSON line for each.

sockets.py FAMILY HOST PORT SOURCE KIND...
"""
import ctypes
import json
import mmap
import os
import select
import socket
import struct
import sys

MPTCP = 262
MSG_FASTOPEN = 0x20000000
TCP_FASTOPEN_CONNECT = 30
IP_BIND_ADDRESS_NO_PORT = 24
SQPOLL = 2


def passed(inet):
    """A socket that another process made, and sent through a unix socket."""
    giver, taker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        s = socket.socket(inet, socket.SOCK_STREAM)
        socket.send_fds(giver, [b"here"], [s.fileno()])
        os._exit(0)
    giver.close()
    _, fds, _, _ = socket.recv_fds(taker, 16, 1)
    os.waitpid(child, 0)
    return socket.socket(fileno=fds[0])


def connect_by_io_uring(s, to, flags):
    """One request, by raw system calls: liburing is not needed for that."""
    libc = ctypes.CDLL(None, use_errno=True)
    setup, enter, connect, getevents, wakeup = 425, 426, 16, 1, 2
    params = (ctypes.c_uint32 * 30)()
    params[2] = flags
    ring = libc.syscall(setup, 4, params)
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    _, sq_tail, _, _, _, _, sq_array = params[10:17]
    _, _, _, _, _, cqes = params[20:26]
    sq = mmap.mmap(ring, sq_array + params[0] * 4, mmap.MAP_SHARED, offset=0)
    cq = mmap.mmap(ring, cqes + params[1] * 16, mmap.MAP_SHARED, offset=0x8000000)
    sqes = mmap.mmap(ring, params[0] * 64, mmap.MAP_SHARED, offset=0x10000000)
    head = struct.pack("=H", s.family) + struct.pack("!H", to[1])
    ip = socket.inet_pton(s.family, to[0])
    address = head + ip + bytes(8) if s.family == socket.AF_INET else head + bytes(4) + ip + bytes(4)
    buffer = ctypes.create_string_buffer(address, len(address))
    sqes[0:64] = struct.pack(
        "=BBHiQQIIQ24x", connect, 0, 0, s.fileno(), len(address), ctypes.addressof(buffer), 0, 0, 7
    )
    sq[sq_array : sq_array + 4] = struct.pack("=I", 0)
    sq[sq_tail : sq_tail + 4] = struct.pack("=I", 1)
    if libc.syscall(enter, ring, 1, 1, getevents | (wakeup if flags & SQPOLL else 0), None, 0) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_enter")
    data, result = struct.unpack("=Qi", cq[cqes : cqes + 12])
    assert data == 7
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def made(kind, inet, source):
    s = passed(inet) if kind == "passed" else socket.socket(inet, socket.SOCK_STREAM, MPTCP if kind == "mptcp" else 0)
    if kind == "bound-no-port":
        s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if kind in ("bound", "bound-no-port"):
        s.bind((source, 0))
    if kind.startswith("device-"):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, kind[len("device-") :].encode() + b"\0")
    return s


def connect(s, kind, to):
    """Returns what was sent along."""
    if kind == "fastopen":
        s.sendto(b"early", MSG_FASTOPEN, to)
        return b"early"
    if kind == "fastopen-connect":
        s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        s.connect(to)
        s.sendall(b"early")
        return b"early"
    if kind == "non-blocking":
        s.setblocking(False)
        s.connect_ex(to)
        select.select([], [s], [], 20)
        s.setblocking(True)
    elif kind in ("io_uring", "sqpoll"):
        connect_by_io_uring(s, to, SQPOLL if kind == "sqpoll" else 0)
    else:
        s.connect(to)
    return b""


def tell(s, sent):
    s.settimeout(20)
    text = b""
    while b"\n" not in text:
        chunk = s.recv(4096)
        if not chunk:
            break
        text += chunk
    greeting, _, rest = text.partition(b"\n")
    while len(rest) < len(sent):
        chunk = s.recv(4096)
        if not chunk:
            break
        rest += chunk
    return {
        "remote": s.getpeername()[0],
        "port": s.getpeername()[1],
        "local": s.getsockname()[0],
        "greeting": greeting.decode(),
        "echo": rest.decode(),
    }


def said(kind, s, to):
    try:
        seen = tell(s, connect(s, kind, to))
    except OSError as error:
        seen = {"error": error.strerror or str(error), "code": error.errno}
    s.close()
    print(json.dumps({"kind": kind, **seen}), flush=True)


if __name__ == "__main__":
    family, host, port, source, *kinds = sys.argv[1:]
    inet = socket.AF_INET6 if family == "6" else socket.AF_INET
    # All are made at once, so that what is waited for comes between the making and the connecting.
    sockets = [(kind, made(kind, inet, source)) for kind in kinds if kind != "wait"]
    if "wait" in kinds:
        print(json.dumps({"kind": "made"}), flush=True)
        sys.stdin.readline()
    for kind, s in sockets:
        said(kind, s, (host, int(port)))
