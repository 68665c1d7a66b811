"""The least that a threaded Python server can do to receive: `recv_into` a buffer, `pwrite` it. See `rivals.BareLoop`."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from pathlib import Path

_BUFFER_BYTES = 1 << 20


def _serve(accepted: socket.socket, directory: Path, tls: ssl.SSLContext | None) -> None:
    buffer = memoryview(bytearray(_BUFFER_BYTES))
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
            length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
            file = os.open(directory / lines[0].split()[1].rpartition("/")[2], os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(file, early, 0)
            position = len(early)
            while position < length:
                count = sock.recv_into(buffer, min(_BUFFER_BYTES, length - position))
                if not count:
                    return
                os.pwrite(file, buffer[:count], position)
                position += count
            os.close(file)
            sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


def _main(port: int, directory: Path, *certificate: str) -> None:
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listening:
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=_serve, args=(sock, directory, tls), daemon=True).start()


if __name__ == "__main__":
    _main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
