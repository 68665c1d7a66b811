"""Interim responses: before the final one, in order, and never at the price of memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.body import BODY_EXTENSION, INFORMATIONAL_EXTENSION
from app.testing.live_server import LiveServer, reply

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
FIELD = [(b"x-padding", b"y" * 4000)]
MOST_UNSENT_BYTES = 1024 * 1024  # uvloop's TLS holds 512 KiB before it says that it is full


@pytest.fixture(params=["plain", "tls"])
def listening(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the server listens."""
    settings: dict[str, Any] = request.getfixturevalue("certificate") if request.param == "tls" else {}
    return settings


def test_they_come_before_the_final_one(listening: dict[str, Any]) -> None:
    """104 of the resumable-upload draft while the body is on its way; none after the final response has begun."""
    late: list[Exception] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inform = scope["extensions"][INFORMATIONAL_EXTENSION]
        inform(104, [(b"location", b"/u/1")])
        await scope["extensions"][BODY_EXTENSION].deliver(lambda view: None, limit=100, owner="ann")
        inform(104, [(b"upload-offset", b"4")])
        with pytest.raises(ValueError, match="101"):
            inform(101, [])
        with pytest.raises(RuntimeError):
            inform(104, [(b"x", b"a\r\nb: c")])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        for _ in range(2):
            try:
                inform(104, [])
            except RuntimeError as exc:
                late.append(exc)
            await send({"type": "http.response.body", "body": b"x", "more_body": len(late) == 1})

    with LiveServer(app, **listening) as server, server.connect() as client:
        client.put(b"", length=4)
        first = client.answer()
        assert (first.status, first.headers) == (104, {"location": "/u/1"})
        client.send(b"body")
        assert client.answer().headers == {"upload-offset": "4"}
        final = client.answer()
        assert (final.status, final.body) == (200, b"xx")
        server.wait_for(lambda: len(late) == 2)


def test_100_comes_too(listening: dict[str, Any]) -> None:
    """A client that waits for 100 (Continue) gets it, after a 104 as well (the draft, section on status code 104)."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"][INFORMATIONAL_EXTENSION](104, [])
        await scope["extensions"][BODY_EXTENSION].deliver(lambda view: None, limit=100, owner="ann")
        await reply(send)

    with LiveServer(app, **listening) as server, server.connect() as client:
        client.put(b"", length=4, headers="Expect: 100-continue\r\n")
        assert [client.answer().status, client.answer().status] == [104, 100]
        assert client.send(b"body").answer().status == 200


def test_those_of_the_next_request_follow_its_predecessors_answer(listening: dict[str, Any]) -> None:
    """Pipelined: a client takes an interim response for that of the request it has no final answer to."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"][INFORMATIONAL_EXTENSION](104, [(b"x-of", scope["path"].encode())])
        await asyncio.sleep(0)
        await reply(send, body=scope["path"].encode())

    with LiveServer(app, **listening) as server, server.connect() as client:
        client.send(GET.replace(b"/", b"/1", 1) + GET.replace(b"/", b"/2", 1))
        answers = [client.answer() for _ in range(4)]
        assert [answer.status for answer in answers] == [104, 200, 104, 200]
        assert [answers[0].headers["x-of"], answers[2].headers["x-of"]] == ["/1", "/2"]


def test_who_does_not_read_them_is_sent_no_more(listening: dict[str, Any]) -> None:
    """What waits to be sent stays small; the final response comes whole all the same."""
    dropped = asyncio.Event()
    unsent: list[int] = []
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        inform = scope["extensions"][INFORMATIONAL_EXTENSION]
        while inform(104, FIELD):
            sent += 1
            await asyncio.sleep(0)
        assert not any(inform(104, FIELD) for _ in range(1000))
        (connection,) = server.server.server_state.connections
        unsent.append(connection.wire.unsent_bytes())
        dropped.set()
        await reply(send, body=b"done")

    with LiveServer(app, **listening) as server, server.connect() as client:
        client.send(GET)
        server.wait_for(dropped.is_set)
        assert unsent[0] < MOST_UNSENT_BYTES
        interim = 0
        while (answer := client.answer()).status == 104:
            interim += 1
        assert (interim, answer.status, answer.body) == (sent, 200, b"done")


def test_one_to_a_client_that_has_left_is_dropped() -> None:
    """Nothing is raised: the application learns of the leaving from the body."""
    seen: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await scope["extensions"][BODY_EXTENSION].wait_gone()
        inform = scope["extensions"][INFORMATIONAL_EXTENSION]
        while inform(104, FIELD):
            await asyncio.sleep(0)
        seen.append(True)

    with LiveServer(app) as server:
        with server.connect() as client:
            client.put(b"", length=4)
        server.wait_for(lambda: bool(seen))
