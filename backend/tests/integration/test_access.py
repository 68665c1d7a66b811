"""Who may do what, whose uploads exist for whom, and what the logs may say of it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.tokens import hash_token, new_token
from app.testing.api_client import ApiClient, Reply, refusal
from app.testing.product import Product

CHUNK = 262_144
NOWHERE = "0" * 32
Start = Callable[..., Product]


class Users:
    """Users of a product with tokens."""

    def __init__(self, product: Product) -> None:
        self.product = product

    def token(self, user: str, *, expires_at: float | None = None, operator: bool = False) -> tuple[str, str]:
        """A new token and its id."""
        secret, digest = new_token()
        record = self.product.call(
            self.product.server.repository.add_token(user, digest, label="", operator=operator, expires_at=expires_at)
        )
        return secret, record.id

    def client(self, user: str, **options: object) -> ApiClient:
        """A client with a token of its own."""
        return self.product.client(token=self.token(user, **options)[0])


@pytest.fixture
def users(start_product: Start) -> Users:
    """A product that wants tokens."""
    return Users(start_product(auth="tokens"))


def same_answer(one: Reply, other: Reply) -> bool:
    """Whether nothing but the request's id tells them apart."""

    def plain(reply: Reply) -> tuple[object, ...]:
        return reply.status, {**reply.json, "request_id": ""}

    return plain(one) == plain(other)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/uploads/{}"),
        ("DELETE", "/api/v1/uploads/{}"),
        ("POST", "/api/v1/uploads/{}/complete"),
        ("PUT", "/api/v1/uploads/{}/chunks/0"),
        ("PUT", "/api/v1/uploads/{}/chunks/7"),
        ("GET", "/api/v1/uploads/{}/events"),
        ("GET", "/api/v1/files/{}/content"),
    ],
)
def test_anothers_upload_is_as_if_it_did_not_exist(users: Users, method: str, path: str) -> None:
    """The same answer, to the byte, as for an id that is none."""
    with users.client("alice") as alice, users.client("mallory") as mallory:
        view = alice.create("a", CHUNK)
        body = b"x" if method == "PUT" else None
        his = mallory.request(method, path.format(view["id"]), body)
        none = mallory.request(method, path.format(NOWHERE), body)
        refusal(his, 404, "not-found")
        assert same_answer(his, none)
        assert mallory.get("/api/v1/uploads")["uploads"] == []
        assert alice.upload(view["id"])["state"] == "created"
        refusal(mallory.request("GET", "/api/v1/ops/uploads"), 403, "forbidden")
        refusal(mallory.cancel(view["id"]), 404)


def test_keys_of_different_users_are_different_keys(users: Users) -> None:
    """Nobody gets another's upload by guessing its key."""
    body, key = {"filename": "a", "size": 1}, {"Idempotency-Key": "1"}
    with users.client("alice") as alice, users.client("bob") as bob:
        assert alice.post("/api/v1/uploads", body, key).json["id"] != bob.post("/api/v1/uploads", body, key).json["id"]


@pytest.mark.parametrize(
    "field",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer fb_unknown",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 8000,
    ],
)
def test_without_a_valid_token_nothing_is_answered_and_no_body_read(users: Users, field: str | None) -> None:
    """401 with a challenge (RFC 6750), also before a body that is waiting to be sent."""
    headers = {} if field is None else {"Authorization": field}
    with users.product.client() as nobody:
        for method, path, body in (
            ("GET", "/api/v1/uploads", None),
            ("POST", "/api/v1/uploads", b"{"),
            ("PUT", f"/api/v1/uploads/{NOWHERE}/chunks/0", b"x" * CHUNK),
            ("PUT", "/api/v1/files/a", b"x"),
            ("GET", "/api/v1/events", None),
            ("GET", "/api/v1/ops/uploads", None),
        ):
            reply = refusal(nobody.request(method, path, body, headers), 401, "unauthenticated")
            assert reply.headers["www-authenticate"].startswith("Bearer")


def test_tokens_that_expired_or_were_revoked_open_nothing(users: Users) -> None:
    """Expiry at its time, revocation when what was looked up is looked up again."""
    expired, _ = users.token("alice", expires_at=1.0)
    with users.product.client(token=expired) as api:
        refusal(api.request("GET", "/api/v1/uploads"), 401, "unauthenticated")
    secret, token_id = users.token("alice")
    with users.product.client(token=secret) as api:
        assert api.get("/api/v1/uploads")["uploads"] == []
        users.product.call(users.product.server.repository.revoke_token(token_id))
        users.product.server.context.identity._known.clear()  # what five seconds do
        refusal(api.request("GET", "/api/v1/uploads"), 401, "unauthenticated")


def test_browsers_sign_in_with_a_cookie_that_pages_elsewhere_can_not_use(users: Users) -> None:
    """HttpOnly, SameSite=Strict; a foreign Origin is 403 and gets no CORS header."""
    secret, _ = users.token("alice")
    with users.product.client() as browser:
        refusal(browser.post("/api/v1/session", {"token": "fb_wrong"}), 401)
        signed_in = browser.post("/api/v1/session", {"token": secret})
        assert signed_in.json == {"user": "alice", "operator": False}
        cookie = signed_in.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        session = {"Cookie": cookie.split(";")[0]}
        assert browser.request("GET", "/api/v1/session", headers=session).json["user"] == "alice"
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"):
            for method, path in (
                ("GET", "/api/v1/events"),
                ("POST", "/api/v1/uploads"),
                ("DELETE", f"/api/v1/uploads/{NOWHERE}"),
                ("DELETE", "/api/v1/session"),
            ):
                reply = refusal(browser.request(method, path, headers={**session, "Origin": origin}), 403, "forbidden")
                assert not [name for name in reply.headers if name.startswith("access-control")]
        own = {**session, "Origin": users.product.url}
        assert browser.request("GET", "/api/v1/uploads", headers=own).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8000", "169.254.169.254"])
def test_without_tokens_other_host_names_are_refused(api: ApiClient, host: str) -> None:
    """DNS rebinding: a page elsewhere whose name points here."""
    refusal(api.request("GET", "/api/v1/uploads", headers={"Host": host}), 403, "forbidden")
    refusal(api.request("POST", "/api/v1/uploads", b"{}", headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "file://"])
def test_without_tokens_other_origins_are_refused(api: ApiClient, origin: str) -> None:
    """A page elsewhere that posts here."""
    reply = api.request("POST", "/api/v1/uploads", b'{"filename":"a","size":1}', headers={"Origin": origin})
    refusal(reply, 403, "forbidden")
    assert api.get("/api/v1/uploads")["uploads"] == []


def test_a_request_without_host_is_no_internal_error(product: Product) -> None:
    """HTTP/1.0 needs none."""
    with socket.create_connection(product.address) as sock:
        sock.sendall(b"GET /api/v1/uploads HTTP/1.0\r\n\r\n")
        response = http.client.HTTPResponse(sock)
        response.begin()
        assert response.status == 403


@pytest.mark.parametrize("address", ["203.0.113.9", "127.0.0.1"])
def test_a_forwarded_address_is_believed_from_trusted_proxies_only(api: ApiClient, address: str) -> None:
    """Trap of DESIGN section 7: trusting X-Forwarded-For. Here it shows a proxy, behind which nobody is local."""
    refusal(api.request("GET", "/api/v1/uploads", headers={"X-Forwarded-For": address}), 403)


def test_on_a_trusted_network_the_address_of_the_connection_is_the_user(start_product: Start) -> None:
    """And not what a header says."""
    product = start_product(auth="none")
    with product.client(source="127.0.0.2") as alice, product.client(source="127.0.0.3") as bob:
        view = alice.create("a", 1)
        refusal(bob.request("GET", f"/api/v1/uploads/{view['id']}"), 404)
        forged = {"X-Forwarded-For": "127.0.0.2", "Forwarded": "for=127.0.0.2", "X-Real-IP": "127.0.0.2"}
        refusal(bob.request("GET", f"/api/v1/uploads/{view['id']}", headers=forged), 404)
        for token in ("x", "日本語", 'a"; Path=/x', "a\r\nSet-Cookie: b=c"):
            assert bob.post("/api/v1/session", {"token": token}).status in {200, 400, 401}


def test_logs_hold_no_secret_and_one_line_per_event(users: Users, tmp_path: Path) -> None:
    """Tokens in headers, cookies, bodies and addresses; line ends and escapes in names."""
    secret, _ = users.token("alice")
    with users.product.client(token=secret) as api:
        api.get("/api/v1/uploads")
        api.post("/api/v1/session", {"token": secret})
        api.request("GET", "/api/v1/uploads", headers={"Cookie": f"forebay_session={secret}"})
        api.request("GET", f"/api/v1/uploads?token={secret}")
        api.request("GET", "/api/v1/uploads/a%0d%0a%7b%22event%22:%22forged%22%7d%1b[31m")
        api.post("/api/v1/uploads", {"filename": "a\n\x1b[31m", "size": 1})
    with users.product.client(token=secret[:-1]) as wrong:
        refusal(wrong.request("GET", "/api/v1/uploads"), 401)

    users.product.__exit__()  # logs are written by a thread of their own
    text = (tmp_path / "server.log").read_text(encoding="utf-8")
    assert secret not in text
    assert secret[:-1] not in text
    assert hash_token(secret) not in text
    assert "\x1b" not in text
    events = [json.loads(line) for line in text.splitlines()]
    assert "forged" not in {event["event"] for event in events}
