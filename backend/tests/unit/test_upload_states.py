"""The table of transitions."""

from __future__ import annotations

import itertools

import pytest

from app.core.errors import StateConflict
from app.core.upload import TERMINAL_STATES, TRANSITIONS, UploadState, next_state


def test_every_state_is_in_the_table() -> None:
    """No state without a row."""
    assert set(TRANSITIONS) == set(UploadState)


def test_what_has_ended_stays_ended() -> None:
    """Nothing follows the four ends."""
    assert {
        UploadState.COMPLETED,
        UploadState.FAILED,
        UploadState.CANCELLED,
        UploadState.EXPIRED,
    } == TERMINAL_STATES


def test_missing_bytes_lead_back_from_transferring_to_receiving() -> None:
    """Where staging lost bytes, the client is asked again."""
    assert next_state(UploadState.TRANSFERRING, UploadState.RECEIVING) is UploadState.RECEIVING


@pytest.mark.parametrize(
    ("present", "wanted"),
    [pair for pair in itertools.product(UploadState, UploadState) if pair[1] not in TRANSITIONS[pair[0]]],
)
def test_a_step_outside_the_table_is_refused(present: UploadState, wanted: UploadState) -> None:
    """With the state in which the upload is."""
    with pytest.raises(StateConflict) as caught:
        next_state(present, wanted)
    assert caught.value.extensions == {"state": present.value}
