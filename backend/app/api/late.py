"""Answers that are made when the framework is through with their request.

While a chunk comes, however slowly, FastAPI and Starlette would keep twenty coroutines, three exit stacks and two Requests
of theirs alive for it: two fifths of what a connection weighs that is held. A route that has decided everything returns
a `Late` instead; `Surroundings` makes the answer of it when all that is gone, and sends it on the way that the route's own
answer would have taken.

Law: what a route waits for late may raise errors of ours only (they are answered as everywhere), and finds the request's
dependencies closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.problems import problem_response
from app.core.errors import ForebayError

__all__ = ["Late", "answer_late"]

_LATE: Final = "late"


class Late(Response):
    """Stands for the answer that `make` will return."""

    def __init__(self, make: Callable[[], Awaitable[Response]]) -> None:
        """Nothing is made yet."""
        super().__init__()
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put it off."""
        del receive
        scope["state"][_LATE] = (self._make, send)


async def answer_late(scope: Scope, receive: Receive) -> None:
    """Make and send the answer that was put off, if one was."""
    late: tuple[Callable[[], Awaitable[Response]], Send] | None = scope["state"].pop(_LATE, None)
    if late is None:
        return
    make, send = late
    del late
    try:
        response = await make()
    except ForebayError as error:
        response = problem_response(scope, error)
        error.__traceback__ = None  # the scope keeps the error, and this frame the scope
    await response(scope, receive, send)
