"""Which of the connection's input belongs to the body of the request under way."""

from __future__ import annotations

from app.ingress.chunked import ChunkedDecoder

__all__ = ["Inbound"]


class Inbound:
    """The part of the connection's input that belongs to one request's body."""

    __slots__ = ("_decoder", "_inbox", "remaining")

    def __init__(self, inbox: bytearray, remaining: int | None, decoder: ChunkedDecoder | None) -> None:
        """`remaining` is the declared length, None with a decoder."""
        self._inbox = inbox
        self._decoder = decoder
        self.remaining = remaining

    @property
    def complete(self) -> bool:
        """Whether nothing of the body is still to be taken."""
        return self._decoder.done if self._decoder is not None else not self.remaining

    @property
    def trailer(self) -> list[tuple[bytes, bytes]]:
        """Trailer fields that were announced, when the body has ended."""
        return [] if self._decoder is None else self._decoder.trailer

    @property
    def held_bytes(self) -> int:
        """Bytes that have come and were not taken (of a chunked body: perhaps beyond its end)."""
        return len(self._inbox)

    def take(self) -> bytes:
        """What has come of the body; raises MalformedRequest or HeadersTooLarge for broken chunked framing."""
        if self._decoder is not None:
            return self._decoder.decode(self._inbox)
        taken = self.claim()
        self.remaining = (self.remaining or 0) - len(taken)
        return taken

    def claim(self) -> bytes:
        """What has come of a body of declared length, still counted in `remaining`."""
        taken = bytes(self._inbox[: self.remaining])
        del self._inbox[: len(taken)]
        return taken
