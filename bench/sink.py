"""A server that throws every body away, in the kernel: what the load generator can do at the most. See `rivals.Sink`.

Over TLS it throws away what Python's TLS gives it, record by record: servers that decrypt faster are faster.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading

_PIECE_BYTES = 8 << 20


def _serve(accepted: socket.socket, tls: ssl.SSLContext | None) -> None:
    room = bytearray(_PIECE_BYTES)
    flags = socket.MSG_TRUNC if tls is None else 0  # drops what TCP has received without copying it here, see tcp(7)
    with accepted if tls is None else tls.wrap_socket(accepted, server_side=True) as sock:
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                data = sock.recv(4096)
                if not data:
                    return
                head += data
            head, _, early = head.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            left = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
            left -= len(early)
            while left:
                count = sock.recv_into(room, min(_PIECE_BYTES, left), flags)
                if not count:
                    return
                left -= count
            sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


def _main(port: int, *certificate: str) -> None:
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listening:
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=_serve, args=(sock, tls), daemon=True).start()


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])
