"""The whole server with what an operator may put under and before it: PostgreSQL, TLS."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
from pathlib import Path

import pytest
import trustme

from app.testing.postgresql import PostgreSQLMissing, private_cluster
from app.testing.server_process import ServerProcess

CHUNK = 256 * 1024


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    headers = {"content-type": "application/json"} if method == "POST" else {}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def _begin(connection: http.client.HTTPConnection, content: bytes) -> str:
    wanted = json.dumps(
        {"filename": "file.bin", "size": len(content), "chunk_size": CHUNK, "completion": "explicit"}
    ).encode()
    status, body = _request(connection, "POST", "/api/v1/uploads", wanted)
    assert status == 201, body
    return str(json.loads(body)["id"])


def _send(connection: http.client.HTTPConnection, upload: str, content: bytes, numbers: list[int]) -> None:
    for number in numbers:
        piece = content[number * CHUNK : (number + 1) * CHUNK]
        status, body = _request(connection, "PUT", f"/api/v1/uploads/{upload}/chunks/{number}", piece)
        assert status == 204, body


def _complete(connection: http.client.HTTPConnection, upload: str) -> None:
    status, body = _request(connection, "POST", f"/api/v1/uploads/{upload}/complete")
    assert (status, json.loads(body)["state"]) == (200, "completed")


def test_an_upload_on_postgresql_survives_a_killed_server(tmp_path: Path) -> None:
    """Recorded chunks are there after the crash, and the file arrives."""
    content = os.urandom(4 * CHUNK + 99)
    try:
        with (
            private_cluster() as cluster,
            ServerProcess(tmp_path, {"FOREBAY_DATABASE_URL": cluster.url}) as server,
        ):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            upload = _begin(connection, content)
            _send(connection, upload, content, [3, 1])
            connection.close()
            server.kill()
            server.start()
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            _, body = _request(connection, "GET", f"/api/v1/uploads/{upload}")
            assert json.loads(body)["missing_chunks"] == [
                {"first": 0, "last": 0},
                {"first": 2, "last": 2},
                {"first": 4, "last": 4},
            ]
            _send(connection, upload, content, [4, 2, 0])
            _complete(connection, upload)
            connection.close()
            assert (server.files / "file.bin").read_bytes() == content
            assert server.stop() == 0
    except PostgreSQLMissing as exc:
        pytest.skip(str(exc))


def test_an_upload_over_tls_arrives_whole(tmp_path: Path) -> None:
    """The event loop decrypts; the rest of the way is the same."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(tmp_path / "cert.pem", append=number > 0)
    settings = {"FOREBAY_TLS_CERT": str(tmp_path / "cert.pem"), "FOREBAY_TLS_KEY": str(tmp_path / "key.pem")}
    content = os.urandom(9 * CHUNK + 1)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with ServerProcess(tmp_path, settings) as server:
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=30, context=context)
        upload = _begin(connection, content)
        _send(connection, upload, content, [9, 0, 8, 1, 7, 2, 6, 3, 5, 4])
        _complete(connection, upload)
        connection.close()
        assert hashlib.sha256((server.files / "file.bin").read_bytes()).digest() == hashlib.sha256(content).digest()


def test_a_key_that_does_not_exist_stops_the_start_with_one_line(tmp_path: Path) -> None:
    """Which names the settings."""
    settings = {"FOREBAY_TLS_CERT": str(tmp_path / "no.pem"), "FOREBAY_TLS_KEY": str(tmp_path / "no.key")}
    with pytest.raises(RuntimeError, match="FOREBAY_TLS_CERT") as caught:
        ServerProcess(tmp_path, settings).start()
    assert "Traceback" not in str(caught.value)
