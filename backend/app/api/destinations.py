"""Destinations as the status and the operations page show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from app.api.ops_stream import DestinationState
from app.core.errors import DestinationQuotaReached
from app.destinations.port import Destination, Reports
from app.services.uploads import Uploads

__all__ = ["destination_states"]


def destination_states(
    uploads: Uploads, destinations: Mapping[str, Destination], kinds: Mapping[str, str]
) -> dict[str, DestinationState]:
    """How each is, by name; `kinds`: the scheme of its URL. Asks nobody."""
    states = {
        name: DestinationState(
            kind=kinds[name],
            breaker=gate.breaker,
            reason=gate.reason or None,
            sentence=gate.sentence,
            transferring=0,
            waiting=0,
            parked=0,
            backoff_until=gate.tried_again_at,
            report=_report(destinations[name]),
        )
        for name, gate in uploads.transfers.gates.items()
    }
    for live in uploads.live:
        state = states.get(live.row.destination)
        if state is None or live.transfer_task is None:
            continue
        if live.problem is None:
            state.transferring += 1
            continue
        state.waiting += 1
        state.parked += live.problem.code == DestinationQuotaReached.code
        state.sentence = state.sentence or live.problem.for_operators
    return states


def _report(destination: Destination) -> dict[str, int | bool | None] | None:
    return asdict(destination.report()) if isinstance(destination, Reports) else None
