"""The tree of errors mirrors problem documents."""

from __future__ import annotations

import pytest

from forebay import errors


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid-name", errors.InvalidRequest),
        (400, "chunk-short", errors.ChunkShort),
        (401, "unauthenticated", errors.Unauthenticated),
        (403, "forbidden", errors.Forbidden),
        (404, "not-found", errors.NotFound),
        (408, "request-timeout", errors.Unavailable),
        (409, "mode-changed", errors.ModeChanged),
        (409, "chunk-out-of-order", errors.ModeChanged),
        (409, "superseded", errors.Superseded),
        (409, "chunk-conflict", errors.ChunkConflict),
        (409, "name-taken", errors.NameTaken),
        (409, "something-new", errors.Conflict),
        (413, "file-too-large", errors.TooLarge),
        (422, "digest-mismatch", errors.DigestMismatch),
        (422, "invalid-request", errors.InvalidRequest),
        (429, "", errors.Unavailable),
        (418, "", errors.Refused),
        (500, "internal-error", errors.Unavailable),
        (501, "transfer-coding", errors.Refused),
        (503, "limit-reached", errors.Unavailable),
        (507, "user-quota", errors.OutOfSpace),
        (599, "", errors.Unavailable),
    ],
)
def test_each_refusal_has_its_class(status: int, code: int | str, kind: type[Exception]) -> None:
    """By code where we know it, else by status."""
    error = errors.refusal(status, {"code": code} if code else {})
    assert type(error) is kind
    assert error.status == status
    assert error.code == (code or kind.default_code)


def test_a_refusal_carries_what_the_document_says() -> None:
    """Detail, request id, Retry-After, further members."""
    document = {
        "type": "t",
        "title": "T",
        "status": 503,
        "detail": "full",
        "code": "limit-reached",
        "request_id": "r",
        "n": 1,
    }
    error = errors.refusal(503, document, retry_after=10)
    assert (str(error), error.request_id, error.retry_after, error.extensions) == ("full", "r", 10, {"n": 1})


def test_every_error_is_of_the_tree_and_exported() -> None:
    """One root, nothing forgotten."""
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert all(issubclass(kind, errors.ForebayError) for kind in kinds)
    assert {kind.__name__ for kind in kinds} <= set(errors.__all__)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)
