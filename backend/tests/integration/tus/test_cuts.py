"""tus over a line that breaks anywhere, in either direction."""

from __future__ import annotations

import http.client
import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.testing.api_client import ApiClient, Reply
from app.testing.cutting_proxy import Cut, CuttingProxy
from app.testing.product import Product
from app.testing.tus_client import BYTES, VERSION, Tus

SIZE = 400_000
LAST_FIELD = "request-that-may-be-cut"

cuts = st.builds(
    Cut,
    to_server=st.one_of(st.integers(1, 400), st.integers(1, SIZE + 400)),  # in the header, too
    to_client=st.one_of(st.just(1 << 20), st.integers(1, 300)),
    reset=st.booleans(),
)


@pytest.fixture
def proxy(product: Product) -> Iterator[CuttingProxy]:
    """Before the product."""
    with CuttingProxy(product.address) as cutting:
        yield cutting


def attempt(proxy: CuttingProxy, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply | None:
    """A request on a connection of its own; None when it was cut before its answer was there."""
    with ApiClient(proxy.address) as api:
        try:
            reply = api.request(method, path, body, {**headers, "X-Request-Id": LAST_FIELD})
        except (OSError, http.client.HTTPException):
            return None
    # http.client takes a header that was cut for a whole one; the request's id is in its last line.
    return reply if reply.headers.get("x-request-id") == LAST_FIELD else None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(cuts, max_size=8), seed=st.integers(0, 1000))
def test_offsets_are_monotonic_whatever_is_cut(
    tus: Tus, product: Product, proxy: CuttingProxy, plan: list[Cut], seed: int
) -> None:
    """No answer tells less than one before, or more than there is to send; in the end it is the file, byte for byte."""
    content = random.Random(seed).randbytes(SIZE)
    name = f"{os.urandom(8).hex()}.bin"
    path, told = tus.begin(SIZE, name), 0
    proxy.cuts.clear()
    proxy.cuts.extend(plan)
    for _ in range(2 * len(plan) + 4):
        reply = attempt(proxy, "HEAD", path, None, VERSION)
        if reply is None:
            continue
        assert (reply.status, reply.headers["upload-length"]) == (200, str(SIZE))
        position = int(reply.headers["upload-offset"])
        assert told <= position <= SIZE
        told = position
        if told == SIZE:
            break
        reply = attempt(proxy, "PATCH", path, content[told:], {**BYTES, "Upload-Offset": str(told)})
        if reply is not None and reply.status == 204:
            told = int(reply.headers["upload-offset"])
            assert told == SIZE
        elif reply is not None:  # a request that was cut is still being ended
            assert reply.status in {409, 408}, reply
    assert told == SIZE
    file = product.files / name
    product.wait_for(file.exists)
    assert file.read_bytes() == content
