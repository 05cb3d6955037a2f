"""A server that listens with MPTCP on every address, as Go's do, and greets each client with its address."""
import json
import socket
import sys

s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", int(sys.argv[1])))
s.listen(64)
while True:
    c, peer = s.accept()
    named = c.getpeername()
    assert named[0] == peer[0], (named, peer)
    here = c.getsockname()
    c.sendall(("HELLO " + json.dumps({"remote": f"{peer[0]}:{peer[1]}", "local": f"{here[0]}:{here[1]}"}) + "\n").encode())
    c.close()
