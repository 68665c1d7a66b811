"""What is around uploads: the background, rights, answers when something is not well."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from app.core.errors import StagingUnavailable, StateConflict
from app.core.tokens import new_token
from app.services.memory_monitor import MemoryMonitor
from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product

CHUNK = 262_144
Start = Callable[..., Product]


def test_a_background_loop_that_breaks_begins_again(start_product: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be had for the memory's probe, uploads go on."""
    broke, again = threading.Event(), threading.Event()

    async def refresh(_: MemoryMonitor) -> None:
        if broke.is_set():
            again.set()
            return
        broke.set()
        raise RuntimeError("can't start new thread")

    def configure(server: Any) -> None:
        async def run() -> None:
            await refresh(server.memory)

        monkeypatch.setattr(server.memory, "run", run)

    product = start_product(configure=configure)
    assert again.wait(30)
    with product.client() as api:
        assert api.request("PUT", "/api/v1/files/a.txt", b"a").status == 201


def test_status_answers_when_memory_can_not_be_measured(start_product: Start) -> None:
    """What is not known is null."""

    def configure(server: Any) -> None:
        def broken() -> Any:
            raise OSError("no /proc")

        server.memory._probe = broken

    with start_product(configure=configure).client() as api:
        memory = api.status()["memory_monitor"]
        assert memory == {"current_usage": None, "limit": None, "level": "error", "rss_bytes": None, "source": None}


def test_one_upload_that_can_not_be_swept_holds_no_other_back(
    start_product: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is looked at by itself."""
    product = start_product(expiry_s=1)
    uploads = product.server.context.uploads
    with product.client() as api:
        ids = [api.create(f"{number}", CHUNK)["id"] for number in range(3)]
        expire = uploads.expire
        troubled = product.server.context.uploads.live[0].row.id

        async def expire_but_one(live: Any) -> None:
            if live.row.id == troubled:
                raise StateConflict
            await expire(live)

        monkeypatch.setattr(uploads, "expire", expire_but_one)
        product.server.context.clock._base += 10
        product.call(product.server.housekeeping.sweep())
        states = {upload_id: api.upload(upload_id)["state"] for upload_id in ids}
        assert states.pop(troubled) == "created"
        assert set(states.values()) == {"expired"}
        monkeypatch.undo()
        product.call(product.server.housekeeping.sweep())


def test_an_upload_whose_bytes_were_lost_after_a_long_transfer_has_its_whole_time_again(
    start_product: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was idle for longer than uploads may be, since it waited for its destination."""
    product = start_product(expiry_s=1000)

    async def away(*_: object) -> None:
        raise StagingUnavailable

    monkeypatch.setattr(product.server.destinations["default"], "take_over", away)
    with product.client() as api:
        view = api.create("a.bin", CHUNK)
        api.put_all(view, b"x" * CHUNK)
        live = product.call(product.server.context.uploads.find(view["id"], None))
        product.wait_for(lambda: live.problem is not None)
        product.server.context.clock._base += 2000
        product.call(product.server.context.uploads.ask_again(live, list(live.extents.values())))
        product.call(product.server.housekeeping.sweep())
        assert api.upload(view["id"])["state"] == "receiving"
        monkeypatch.undo()
        assert api.put_chunk(view["id"], 0, b"y" * CHUNK).status == 204
        assert api.cancel(view["id"]).status in {204, 409}


def _token(product: Product, user: str) -> tuple[str, str]:
    secret, digest = new_token()
    record = product.call(product.server.repository.add_token(user, digest, label="", operator=False, expires_at=None))
    return secret, record.id


def test_an_event_stream_ends_when_its_token_is_revoked(start_product: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that happens afterwards is told."""
    monkeypatch.setattr("app.services.identity._BELIEVED_S", 0.0)
    product = start_product(auth="tokens")
    first, record = _token(product, "alice")
    second, _ = _token(product, "alice")
    with product.client(token=first) as watcher, product.client(token=second) as api:
        watcher.connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {first}"})
        response = watcher.connection.getresponse()
        product.wait_for(lambda: product.server.hub.subscribers == 1)
        product.call(product.server.repository.revoke_token(record))
        view = api.create("secret.bin", CHUNK)
        api.put_all(view, b"x" * CHUNK)
        assert view["id"].encode() not in response.read()
        product.wait_for(lambda: product.server.hub.subscribers == 0)


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 200), ({"X-Forwarded-For": "10.1.2.3"}, 403), ({"Host": "evil.example"}, 403)]
)
def test_on_a_trusted_network_only_this_machine_operates(
    start_product: Start, headers: dict[str, str], status: int
) -> None:
    """Not whoever comes through a proxy on it, and no page under a name that was made to lead here."""
    with start_product(auth="none").client() as api:
        assert api.request("GET", "/api/v1/ops/uploads", headers=headers).status == status
        assert api.request("GET", "/api/v1/uploads", headers=headers).status == 200


def test_a_closed_status_is_closed_to_proxies_and_open_to_cookies(start_product: Start) -> None:
    """The same rules as everywhere."""
    product = start_product(status_open=False)
    path = "/api/v1/system/upload-status"
    with product.client() as api:
        assert api.request("GET", path).status == 200
        refusal(api.request("GET", path, headers={"X-Forwarded-For": "10.1.2.3"}), 403)
    secret, _ = _token(product, "alice")
    product.server.context.identity._any_token = (float("-inf"), False)
    with product.client() as api:
        refusal(api.request("GET", path), 401)
        assert api.request("GET", path, headers={"Cookie": f"forebay_session={secret}"}).status == 200


def test_the_cookie_is_secure_where_clients_come_by_https(start_product: Start) -> None:
    """Also when the proxy in front, which ends TLS, is not one whose fields are believed."""
    product = start_product(auth="tokens", public_url="https://upload.example.org")
    secret, _ = _token(product, "alice")
    with product.client() as api:
        reply = api.post("/api/v1/session", {"token": secret}, {"Origin": "https://upload.example.org"})
        assert "Secure" in reply.headers["set-cookie"]


@pytest.mark.parametrize("address", ["/api/v1/files/%ff.txt", "/api/v1/files/a.txt?path=%ff"])
def test_an_address_that_is_not_utf8_names_no_file(api: ApiClient, product: Product, address: str) -> None:
    """Replaced octets would be another name."""
    refusal(api.request("PUT", address, b"x"), 400, "invalid-name")
    assert list(product.files.glob("*")) == []


def test_a_media_type_that_is_none_is_refused(api: ApiClient) -> None:
    """In both calls alike."""
    refusal(api.request("PUT", "/api/v1/files/a.txt", b"x", {"Content-Type": "nonsense"}), 400, "invalid-request")


def test_a_transferring_upload_does_not_expire(
    product: Product, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not say that it will."""

    async def away(*_: object) -> None:
        raise StagingUnavailable

    monkeypatch.setattr(product.server.destinations["default"], "take_over", away)
    view = api.create("a.bin", CHUNK)
    assert view["expires_at"] is not None
    api.put_all(view, b"x" * CHUNK)
    assert api.upload(view["id"])["expires_at"] is None


def test_an_ipv6_address_may_be_an_allowed_host(start_product: Start) -> None:
    """With or without its brackets."""
    product = start_product(allowed_hosts="[::1],127.0.0.1")
    with socket.create_connection(product.address) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]:8000\r\nConnection: close\r\n\r\n")
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
