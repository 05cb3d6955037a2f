"""The application that attacks are aimed at: whoever reaches it is told so, and noted."""
import socket
import threading


def serve(listener):
    while True:
        connection, peer = listener.accept()
        print("reached by", peer[0], peer[1], flush=True)
        try:
            connection.sendall(b"APP\n")
            connection.close()
        except OSError:
            pass


listener = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
threading.Thread(target=serve, args=(listener,), daemon=False).start()
