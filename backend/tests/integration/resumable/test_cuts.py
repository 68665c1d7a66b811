"""Resumable uploads over a line that breaks anywhere, in either direction."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.testing.cutting_proxy import Cut, CuttingProxy
from app.testing.live_server import Answer, RawClient
from app.testing.product import Product

from .conftest import PARTIAL, Resumable

SIZE = 400_000

cuts = st.builds(
    Cut,
    to_server=st.one_of(st.integers(1, 400), st.integers(1, SIZE + 400)),  # in the header, too
    to_client=st.one_of(st.just(1 << 20), st.integers(1, 600)),
    reset=st.booleans(),
)


@pytest.fixture
def proxy(product: Product) -> Iterator[CuttingProxy]:
    """Before the product."""
    with CuttingProxy(product.address) as cutting:
        yield cutting


def attempt(
    proxy: CuttingProxy, client: Resumable, method: str, path: str, body: bytes, fields: Mapping[str, str]
) -> list[Answer]:
    """All responses to a request on a connection of its own, as far as they came whole."""
    answers: list[Answer] = []
    with (
        suppress(OSError, EOFError),
        socket.create_connection(proxy.address, timeout=30) as sock,
    ):
        raw = RawClient(sock)
        with suppress(OSError):  # an answer may be there all the same
            client.send_head(raw, method, path, {**fields, "Content-Length": str(len(body))})
            raw.send(body)
        while not answers or answers[-1].status < 200:
            answers.append(raw.answer(method))
    return answers


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(cuts, max_size=8), seed=st.integers(0, 1000), version=st.sampled_from([5, 6, 8]))
def test_the_offset_never_goes_back(
    resumable: Resumable, product: Product, proxy: CuttingProxy, plan: list[Cut], seed: int, version: int
) -> None:
    """No response, interim ones included, tells less than one before; in the end it is the file, byte for byte."""
    content = random.Random(seed).randbytes(SIZE)
    name = f"{os.urandom(8).hex()}.bin"
    client = resumable.speaking(version)
    path, told, complete = client.begin(SIZE, name), 0, "?0"
    proxy.cuts.clear()
    proxy.cuts.extend(plan)
    for _ in range(2 * len(plan) + 4):
        for answer in attempt(proxy, client, "HEAD", path, b"", {}):
            assert (answer.status, answer.headers["upload-length"]) == (204, str(SIZE))
            assert told <= int(answer.headers["upload-offset"]) <= SIZE
            told, complete = int(answer.headers["upload-offset"]), answer.headers["upload-complete"]
        if complete == "?1":
            break
        fields = {**PARTIAL, "Upload-Offset": str(told), "Upload-Complete": "?1"}
        for answer in attempt(proxy, client, "PATCH", path, content[told:], fields):
            assert answer.status in {104, 201, 409, 408}, (answer.status, answer.body)
            if answer.status == 201:
                complete = answer.headers["upload-complete"]
            if answer.status in {104, 201}:  # a request that was cut is ended by the next, and tells what it had then
                assert told <= int(answer.headers["upload-offset"]) <= SIZE
                told = int(answer.headers["upload-offset"])
    assert (told, complete) == (SIZE, "?1")
    assert (product.files / name).read_bytes() == content
