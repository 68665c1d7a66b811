"""Tokens: random, recognisable, kept as a hash; and durations."""

from __future__ import annotations

import hashlib

import pytest

from app.core.tokens import TOKEN_PREFIX, hash_token, new_token, parse_duration


def test_a_token_is_recognisable_and_comes_with_its_hash() -> None:
    """Prefix, 43 characters of 32 bytes, SHA-256."""
    token, secret_hash = new_token()
    assert token.startswith(TOKEN_PREFIX)
    assert len(token) == len(TOKEN_PREFIX) + 43
    assert secret_hash == hash_token(token) == hashlib.sha256(token.encode()).hexdigest()


def test_no_two_tokens_are_alike() -> None:
    """Nor their hashes."""
    made = [new_token() for _ in range(1000)]
    assert len({token for token, _ in made}) == len({secret_hash for _, secret_hash in made}) == 1000


def test_whatever_a_client_sends_as_a_token_can_be_hashed() -> None:
    """Empty, foreign letters, bytes that are no text."""
    assert len({hash_token(text) for text in ("", "ü", "\udcff", "a" * 100_000)}) == 4


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("12h", 43_200), ("30d", 2_592_000), (" 8w ", 4_838_400)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """Seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1.5h", "1y", "30 d", "1d2h", "9999999d", "٣d"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """In one line."""
    with pytest.raises(ValueError, match="is no duration: write a whole number and s, m, h, d or w, such as 30d"):
        parse_duration(text)
