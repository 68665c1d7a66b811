"""A form's body, part by part, each file in it a body of its own.

Laws:
- Parts come in the form's order; what has not been read of one is skipped when the next is asked for.
- Outside the pool no more than `_PIECE_BYTES` of a form are held: what came together with the end of a part. It is handed
  over before anything more is read.
- One reader at a time, on the event loop. Parsing, and what takes the content, run in worker threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from typing import Final

from app.core.body import RequestBody, SlabSink
from app.core.errors import BodyTooLarge, InvalidRequest
from app.core.waiting import UNOBSERVED, WaitObserver
from app.posix.threads import run_to_end
from app.protocols.multipart_form import Ended, FormEvent, FormParser, Part

__all__ = ["Form", "PartBody"]

_PIECE_BYTES: Final = 256 * 1024
_MAX_FIELD_BYTES: Final = 4096
_UNBOUNDED: Final = 2**63 - 1


class Form:
    """Reads one form."""

    def __init__(self, body: RequestBody, parser: FormParser, threads: Executor, owner: str) -> None:
        """Read nothing yet.

        Args:
            body: of the request, unread.
            parser: of its Content-Type.
            threads: in which what came together with the end of a part is handed over.
            owner: whose share of the pool is used.
        """
        self._body = body
        self._parser = parser
        self._threads = threads
        self._owner = owner
        self._held: deque[FormEvent] = deque()

    async def parts(self) -> AsyncIterator[Part]:
        """Each part, as it begins.

        Raises:
            InvalidRequest: it is no form, or breaks off.
            What `RequestBody.deliver` raises.
        """
        while (event := await self.next()) is not None:
            if isinstance(event, Part):
                yield event

    async def field(self) -> str:
        """The content of the part that has just begun; raises as `parts`.

        Raises:
            InvalidRequest: it is too long for a field, or no UTF-8.
        """
        content = bytearray()
        while isinstance(event := await self.next(), bytes):
            content += event
            if len(content) > _MAX_FIELD_BYTES:
                raise InvalidRequest(f"A field of the form may have up to {_MAX_FIELD_BYTES} bytes.")
        try:
            return content.decode()
        except UnicodeDecodeError as exc:
            raise InvalidRequest("A field of the form is no UTF-8.") from exc

    async def next(self) -> FormEvent | None:
        """What comes next; None: the form is over. Raises as `parts`."""
        while not self._held:
            if self._body.ended:
                self._parser.end()
                return None
            await self.read(None, most=_PIECE_BYTES)
        return self._held.popleft()

    def at_end_of_part(self) -> bool:
        """Whether it is known that the part has ended; then that is taken note of."""
        if self._held and isinstance(self._held[0], Ended):
            self._held.popleft()
            return True
        return False

    async def read(
        self,
        on_slab: SlabSink | None,
        *,
        most: int,
        urgent: bool = False,
        waits: WaitObserver = UNOBSERVED,
        on_rest: Callable[[], None] | None = None,
    ) -> int:
        """Hand over up to `most` bytes of the part's content, of what is held or else of what comes; how many it was.

        Without `on_slab`, and behind the part's end, what comes is held. Raises as `parts`.
        """
        if self._held:
            return await self._hand_over(on_slab, most)
        if self._body.ended:
            self._parser.end()
            raise InvalidRequest("The form breaks off before its end.")
        handed = 0

        def take(view: memoryview) -> None:
            nonlocal handed
            for event in self._parser.feed(bytes(view)):
                if on_slab is None or self._held or not isinstance(event, bytes):
                    self._held.append(event)
                    continue
                given = event[: most - handed]
                on_slab(memoryview(given))
                handed += len(given)
                if len(given) < len(event):
                    self._held.append(event[len(given) :])

        await self._body.deliver(
            take,
            limit=_UNBOUNDED,
            owner=self._owner,
            urgent=urgent,
            most=min(most, _PIECE_BYTES),
            waits=waits,
            on_rest=on_rest,
        )
        return handed

    async def _hand_over(self, on_slab: SlabSink | None, most: int) -> int:
        event = self._held[0]
        if on_slab is None or not isinstance(event, bytes):
            return 0
        given = event[:most]
        await run_to_end(self._threads, on_slab, memoryview(given))
        self._held.popleft()
        if len(given) < len(event):
            self._held.appendleft(event[len(given) :])
        return len(given)

    async def wait_gone(self) -> None:
        """Return when the client has left."""
        await self._body.wait_gone()


class PartBody:
    """The content of the part that has just begun, as the body of a request (`app.core.body.RequestBody`)."""

    def __init__(self, form: Form) -> None:
        """Read nothing yet."""
        self._form = form
        self._delivered = 0
        self._ended = False

    @property
    def length(self) -> int | None:
        """Nobody knows: a form does not say it."""
        return None

    @property
    def ended(self) -> bool:
        """Whether all of it has been delivered."""
        return self._ended

    @property
    def trailer(self) -> Sequence[tuple[str, str]]:
        """A part has none."""
        return ()

    async def wait_gone(self) -> None:
        """Return when the client has left."""
        await self._form.wait_gone()

    async def deliver(
        self,
        on_slab: SlabSink,
        *,
        limit: int,
        owner: str,
        urgent: bool = False,
        most: int | None = None,
        waits: WaitObserver = UNOBSERVED,
        on_rest: Callable[[], None] | None = None,
    ) -> int:
        """See `RequestBody.deliver`; the owner is the form's."""
        del owner
        handed = 0
        while not self._ended and (most is None or handed < most):
            left = limit - self._delivered
            if not left:
                await self._end(limit)
                break
            count = await self._form.read(
                on_slab,
                most=left if most is None else min(left, most - handed),
                urgent=urgent,
                waits=waits,
                on_rest=on_rest,
            )
            handed += count
            self._delivered += count
            self._ended = self._form.at_end_of_part()
        return handed

    async def _end(self, limit: int) -> None:
        """All that may come has come."""
        if isinstance(await self._form.next(), bytes):
            raise BodyTooLarge(f"A file of the form is longer than the {limit} bytes taken here.", limit=limit)
        self._ended = True
