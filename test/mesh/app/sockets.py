"""Connects in the manner that is asked for, to a port of app/server.mjs that speaks first; prints one JSON line.

sockets.py KIND FAMILY HOST PORT [SOURCE]
"""
import json
import select
import socket
import sys

kind, family, host, port = sys.argv[1:5]
MPTCP = 262
MSG_FASTOPEN = 0x20000000
TCP_FASTOPEN_CONNECT = 30
IP_BIND_ADDRESS_NO_PORT = 24
inet = socket.AF_INET6 if family == "6" else socket.AF_INET
s = socket.socket(inet, socket.SOCK_STREAM, MPTCP if kind == "mptcp" else 0)
s.settimeout(5)
to = (host, int(port))
sent = b""
if kind == "bound":
    s.bind((sys.argv[5], 0))
elif kind == "bound-no-port":
    s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    s.bind((sys.argv[5], 0))
elif kind == "device":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
if kind == "fastopen":
    sent = b"early"
    # With a timeout Python's sockets do not block, and the call would only begin to connect.
    s.settimeout(None)
    s.sendto(sent, MSG_FASTOPEN, to)
    s.settimeout(5)
elif kind == "fastopen-connect":
    s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    s.connect(to)
    sent = b"early"
    s.sendall(sent)
elif kind == "non-blocking":
    s.setblocking(False)
    s.connect_ex(to)
    select.select([], [s], [], 5)
    s.setblocking(True)
    s.settimeout(5)
else:
    s.connect(to)
text = b""
while not text.endswith(b"\n") and b"}" not in text:
    chunk = s.recv(4096)
    if not chunk:
        break
    text += chunk
greeting, _, rest = text.partition(b"\n")
while len(rest) < len(sent):
    rest += s.recv(4096)
print(json.dumps({
    "remote": s.getpeername()[0],
    "port": s.getpeername()[1],
    "local": s.getsockname()[0],
    "greeting": greeting.decode(),
    "echo": rest.decode(),
}))
