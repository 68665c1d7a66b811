"""Problem documents."""

from __future__ import annotations

import json

from app.core.errors import LimitReached, NotFound
from app.protocols.problem import problem_document


def test_a_problem_has_the_members_that_the_contract_names() -> None:
    """RFC 9457's, ours, and Retry-After."""
    status, headers, body = problem_document(LimitReached(retry_after_s=7, queue=3), "r-1")
    assert status == 503
    assert dict(headers)[b"content-type"] == b"application/problem+json"
    assert dict(headers)[b"retry-after"] == b"7"
    assert int(dict(headers)[b"content-length"]) == len(body)
    assert json.loads(body) == {
        "type": "urn:forebay:problem:limit-reached",
        "title": "Upload limit reached",
        "status": 503,
        "detail": "Upload limit exceeded or insufficient resources",
        "code": "limit-reached",
        "request_id": "r-1",
        "queue": 3,
    }


def test_extensions_do_not_replace_members() -> None:
    """An error can't lie about its code."""
    assert json.loads(problem_document(NotFound(code="other"), "r")[2])["code"] == "not-found"


def test_a_lone_surrogate_can_be_told() -> None:
    """Text from a file name may hold one; the document is ASCII."""
    body = problem_document(NotFound("no \ud800"), "r")[2]
    assert body.isascii()
