"""What the receiver counts, as metrics, and for whoever else counts."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from app.core.errors import Unavailable
from app.observability.metrics import Metrics

__all__ = ["IngressCounts"]

log = structlog.get_logger(__name__)


class IngressCounts:
    """The receiver's observer."""

    def __init__(
        self, metrics: Metrics, *, on_bytes: Callable[[int], None], on_turned_away: Callable[[str], None]
    ) -> None:
        """Count for `metrics`.

        Args:
            metrics: of the server.
            on_bytes: told how many body bytes have come.
            on_turned_away: told, in a sentence, that a connection could not be taken.
        """
        self._metrics = metrics
        self._on_bytes = on_bytes
        self._on_turned_away = on_turned_away
        self.connections = 0
        """Open now."""

    def connection_opened(self, *, tls: bool) -> None:
        """One more."""
        del tls
        self.connections += 1

    def connection_closed(self, *, tls: bool) -> None:
        """One less."""
        del tls
        self.connections -= 1

    def bytes_received(self, count: int) -> None:
        """So many more."""
        self._metrics.received(count)
        self._on_bytes(count)

    def request_refused(self, code: str, detail: str = "") -> None:
        """With that code."""
        self._metrics.refused(code)
        if code == Unavailable.code:
            self._on_turned_away(detail)

    def accept_paused(self) -> None:
        """Nobody can come in."""
        log.warning("no connection can be accepted for the moment: file descriptors or kernel memory are out")
