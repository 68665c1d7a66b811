"""`Transfer-Encoding: chunked` (RFC 9112 section 7.1): bytes in, content out. Sans-IO.

Laws: nothing beyond the body's last byte is consumed; what it holds itself is less than one chunk-size line or the
trailer section, each limited; content is never copied twice; after an error it is not used again. llhttp is not used
for this: it limits neither chunk extensions nor trailers.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from app.core.errors import HeadersTooLarge, MalformedRequest
from app.ingress.head import parse_fields

__all__ = ["ChunkedDecoder"]

# Sixteen hexadecimal digits would do for 2^64; fifteen stay below 2^60. Extensions (section 7.1.1) are skipped.
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_SIZE_LINE_BYTES: Final = 256
_FREE_EXTENSION_BYTES: Final = 16 * 1024
_MAX_STEPS: Final = 3 * 2048
"""Elements read in one call, three to a chunk: a flood of tiny chunks must not hold the event loop."""
_LINE_END: Final = b"\r\n"


class _State(Enum):
    SIZE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()
    DONE = auto()


class ChunkedDecoder:
    """Reads one chunked body."""

    __slots__ = (
        "_extension_bytes",
        "_left",
        "_max_trailer_bytes",
        "_max_trailer_fields",
        "_state",
        "_trailer",
        "_trailer_bytes",
        "_trailer_fields",
        "_wanted",
    )

    def __init__(
        self, *, max_trailer_bytes: int, max_trailer_fields: int, wanted: frozenset[bytes] = frozenset()
    ) -> None:
        """Begin.

        Args:
            max_trailer_bytes: of the trailer section, with line ends.
            max_trailer_fields: in it.
            wanted: names, in lower case, of the trailer fields that are kept; the others are read and dropped.
        """
        self._wanted = wanted
        self._state = _State.SIZE
        self._left = 0
        self._extension_bytes = 0
        self._trailer: list[tuple[bytes, bytes]] = []
        self._trailer_fields = 0
        self._trailer_bytes = 0
        self._max_trailer_bytes = max_trailer_bytes
        self._max_trailer_fields = max_trailer_fields

    @property
    def done(self) -> bool:
        """Whether the body has ended."""
        return self._state is _State.DONE

    @property
    def trailer(self) -> list[tuple[bytes, bytes]]:
        """The fields wanted, in order, when the body has ended."""
        return self._trailer if self.done else []

    def decode(self, buffer: bytearray) -> bytes:
        """Take what belongs to this body out of `buffer` and return the content in it.

        When content comes back, more may be in `buffer` already; without, the buffer holds no whole element.

        Raises:
            MalformedRequest: the framing is broken, or its chunk extensions are a flood.
            HeadersTooLarge: the trailer section is larger or has more fields than a header may.
        """
        content = bytearray()
        position = 0
        for _ in range(_MAX_STEPS):
            if self._state is _State.DONE:
                break
            following = self._step(buffer, position, content)
            if following is None:
                break
            position = following
        del buffer[:position]
        return bytes(content)

    def _step(self, buffer: bytearray, position: int, content: bytearray) -> int | None:
        """One element from `position`; the position after it, or None when more bytes are needed."""
        if self._state is _State.CONTENT:
            taken = buffer[position : position + self._left]
            content += taken
            self._left -= len(taken)
            if not self._left:
                self._state = _State.CONTENT_END
            return position + len(taken) if taken else None
        if self._state is _State.CONTENT_END:
            return self._content_end(buffer, position)
        limit = _MAX_SIZE_LINE_BYTES if self._state is _State.SIZE else self._max_trailer_bytes - self._trailer_bytes
        line = self._line(buffer, position, limit)
        if line is None:
            return None
        if self._state is _State.SIZE:
            self._size(line)
        else:
            self._trailer_line(line)
        return position + len(line) + len(_LINE_END)

    def _content_end(self, buffer: bytearray, position: int) -> int | None:
        end = buffer[position : position + 2]
        if not _LINE_END.startswith(end):
            raise MalformedRequest("A chunk is longer than its size says.")
        if len(end) < len(_LINE_END):
            return None
        self._state = _State.SIZE
        return position + 2

    def _line(self, buffer: bytearray, position: int, limit: int) -> bytes | None:
        end = buffer.find(b"\n", position, position + limit + len(_LINE_END))
        if end < 0:
            if len(buffer) - position >= limit + len(_LINE_END):
                if self._state is _State.TRAILER:
                    raise HeadersTooLarge("The body's trailer section is too large.")
                raise MalformedRequest("A chunk's size line is too long.")
            return None
        if end == position or buffer[end - 1 : end] != b"\r":
            raise MalformedRequest("A line of the chunked framing ends with LF alone.")
        return bytes(buffer[position : end - 1])

    def _size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise MalformedRequest("A chunk's size can't be read.")
        self._extension_bytes += len(line) - len(match[1])
        if self._extension_bytes > _FREE_EXTENSION_BYTES:
            raise MalformedRequest("The body has too many chunk extensions.")
        self._left = int(match[1], 16)
        self._state = _State.CONTENT if self._left else _State.TRAILER

    def _trailer_line(self, line: bytes) -> None:
        if line:
            self._trailer_bytes += len(line) + len(_LINE_END)
            self._trailer_fields += 1
            if self._trailer_fields > self._max_trailer_fields:
                raise HeadersTooLarge("The body has too many trailer fields.")
            # RFC 9110 section 6.5.1: trailers that nobody asked for may be dropped, and never merge with the header.
            self._trailer += [field for field in parse_fields([line], max_fields=1) if field[0] in self._wanted]
            return
        self._state = _State.DONE
