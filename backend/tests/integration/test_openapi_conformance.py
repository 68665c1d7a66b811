"""What the server answers is what its OpenAPI document says, for requests made from that document, valid and not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.protocols import resumable, tus
from app.testing.product import Product


@schemathesis.serializer(tus.MEDIA_TYPE, resumable.MEDIA_TYPE)
def _bytes_as_they_are(_context: Any, value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


# `events` of all my uploads has no end; what it sends is tested elsewhere.
_ENDLESS = {"/api/v1/events"}
_MAY_FAIL = {501, 503, 507}


@pytest.fixture(scope="module")
def product(start_module_product: Callable[..., Product]) -> Product:
    """One for all operations; requests are small, and the ten events that are looked at of a stream come soon."""

    def hasten(server: Any) -> None:
        server.sampler._interval_s = 0.02

    return start_module_product(configure=hasten, body_idle_s=2, queue_timeout_s=2, user_quota_mb=1024)


@pytest.fixture(scope="module")
def ids(product: Product) -> Iterator[list[str]]:
    """Uploads in every state, so that not everything is a 404."""
    with product.client() as api:
        done = api.request("PUT", "/api/v1/files/done.txt", b"content").json["id"]
        begun = api.create("begun.bin", 1 << 20, chunk_size=262_144)["id"]
        api.put_chunk(begun, 1, b"x" * 262_144)
        fresh = api.create("fresh.bin", 10)["id"]
        cancelled = api.create("cancelled.bin", 10)["id"]
        api.cancel(cancelled)
        yield [done, begun, fresh, cancelled]


_CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


def statuses_of(operation: Any, ids: list[str]) -> set[int]:
    """Ask for one operation in many ways, each answer checked; the statuses that came."""
    seen: set[int] = set()

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), known=st.sampled_from([None, *ids]))
    def conforms(case: Any, known: str | None) -> None:
        if known is not None:
            for name in {"upload_id", "file_id"} & set(case.path_parameters):
                case.path_parameters[name] = known
        response = case.call(timeout=20)
        seen.add(response.status_code)
        assert response.status_code < 500 or response.status_code in _MAY_FAIL, response.text
        case.validate_response(response, checks=_CHECKS)

    conforms()
    return seen


@pytest.mark.slow
def test_answers_are_those_of_the_document(product: Product, ids: list[str]) -> None:
    """No undocumented status, media type or shape; no 5xx but "not now", "no room" and "not supported"."""
    schema = schemathesis.openapi.from_url(f"{product.url}/openapi.json")
    seen: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in _ENDLESS:
            seen[operation.label] = statuses_of(operation, ids)
    assert len(seen) >= 15
    assert {200, 201, 204, 400, 404, 409} <= set().union(*seen.values())
