"""What the receiver counts, and whom it tells."""

from __future__ import annotations

from app.core.errors import MalformedRequest, Unavailable
from app.observability.ingress_counts import IngressCounts
from app.observability.metrics import Metrics


def test_bytes_and_connections_turned_away_are_passed_on() -> None:
    """A request that breaks HTTP's rules is counted, and nothing an operator has to know."""
    metrics, came, turned_away = Metrics(), list[int](), list[str]()
    counts = IngressCounts(metrics, on_bytes=came.append, on_turned_away=turned_away.append)
    counts.connection_opened(tls=False)
    counts.connection_opened(tls=True)
    counts.connection_closed(tls=True)
    counts.bytes_received(5)
    counts.bytes_received(7)
    counts.request_refused(MalformedRequest.code, "No colon.")
    counts.request_refused(Unavailable.code, "As many connections as it takes.")
    assert (counts.connections, came, turned_away) == (1, [5, 7], ["As many connections as it takes."])
    rendered = metrics.render()[1].decode()
    assert 'forebay_refusals_total{code="malformed-request"} 1.0' in rendered
    assert 'forebay_refusals_total{code="unavailable"} 1.0' in rendered
