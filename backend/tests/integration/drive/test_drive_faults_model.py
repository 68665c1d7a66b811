"""Any faults in any order against one promise: exactly one file with the right bytes, or none and a clear end."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from app.services.destination_gate import _LOOK_AGAIN_S
from app.testing.drive_emulator.faults import (
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    Fault,
    LoseAnswer,
    Status,
    WrongDigest,
)
from app.testing.drive_emulator.script import Rule

from .conftest import Rig

KIB = 1024
CHUNK = 256 * KIB
CHUNKS = 5
SIZE = CHUNKS * CHUNK - 777

_statuses: st.SearchStrategy[Fault] = st.builds(
    Status, st.sampled_from([401, 403, 429, 500, 503]), when=st.sampled_from(["before", "after"])
)
_anywhere: st.SearchStrategy[Fault] = st.one_of(_statuses, st.just(LoseAnswer()))
_on_put: st.SearchStrategy[Fault] = st.one_of(
    st.builds(CommitLess, st.sampled_from([256 * KIB, 512 * KIB])),
    st.builds(CutAfter, st.integers(0, SIZE)),
    st.builds(Expire, st.sampled_from([404, 410])),
)
_on_finish: st.SearchStrategy[Fault] = st.one_of(
    st.builds(Status, st.sampled_from([500, 503]), when=st.just("after")),
    st.just(LoseAnswer()),
    st.just(WrongDigest()),
    st.just(ErrorIn200(when="after")),
)
_rules = st.one_of(
    st.builds(
        Rule,
        st.sampled_from(["upload.start", "upload.put", "upload.query", "files.get", "files.list", "files.generateIds"]),
        _anywhere,
        times=st.integers(1, 2),
    ),
    st.builds(Rule, st.just("upload.put"), _on_put, skip=st.integers(0, 1), times=st.integers(1, 2)),
    st.builds(Rule, st.just("upload.finish"), _on_finish, times=st.just(1)),
    st.builds(Rule, st.just("token"), st.builds(Status, st.just(503)), times=st.just(1)),
)


class DriveFaults(RuleBasedStateMachine):
    """One upload; whoever runs the machine gives it a product and a Drive."""

    rig: Rig
    counter = 0

    @initialize()
    def begin(self) -> None:
        """An upload of its own name."""
        type(self).counter += 1
        self.name = f"{self.counter}.bin"
        self.content = os.urandom(SIZE)
        self.rig.api.close()
        self.rig.drive.script([])
        self.id = self.rig.begin(self.content, self.name, chunk_size=CHUNK)["id"]
        self.missing = set(range(CHUNKS))
        self.rules: list[Rule] = []
        self.cancelled = False

    @precondition(lambda self: not self.cancelled and self.missing)
    @rule(number=st.integers(0, CHUNKS - 1))
    def send(self, number: int) -> None:
        """A chunk, perhaps again."""
        data = self.content[number * CHUNK : (number + 1) * CHUNK]
        assert self.rig.api.put_chunk(self.id, number, data).status == 204
        self.missing.discard(number)

    @rule(fault=_rules)
    def break_something(self, fault: Rule) -> None:
        """From now on."""
        self.rules.append(fault)
        self.rig.drive.script(self.rules)

    @rule(status=st.sampled_from([404, 410]))
    def expire_the_session(self, status: int) -> None:
        """Whatever it holds."""
        self.rig.drive.expire_sessions(status)

    @rule()
    def expire_the_access_token(self) -> None:
        """It has to be refreshed."""
        self.rig.drive.expire_access_tokens()

    @precondition(lambda self: not self.cancelled)
    @rule()
    def cancel(self) -> None:
        """It stays cancelled, unless it was at its destination already."""
        reply = self.rig.api.cancel(self.id)
        assert reply.status in {204, 409}
        if reply.status == 409:
            assert not self.missing
        self.cancelled = reply.status == 204

    def teardown(self) -> None:
        """What is left to send is sent; then the promise is looked at."""
        if not self.cancelled:
            for number in sorted(self.missing):
                self.send(number)
        view = self.rig.ended(self.id)
        self.rig.product.wait_for(lambda: not self.rig.product.server.transfers.removals, 60)
        files = self.rig.drive.named(self.name)
        if self.cancelled:
            assert view["state"] == "cancelled"
            assert files == []
        else:
            assert view["state"] == "completed", view
            assert [self.rig.drive.content(file.id) == self.content for file in files] == [True]
            assert files[0].id == view["result"]["id"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_exactly_one_whole_file_or_none(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty histories of chunks, faults, expiries and cancels."""
    monkeypatch.setattr("app.services.destination_gate._LOOK_AGAIN_S", dict.fromkeys(_LOOK_AGAIN_S, 0.05))
    monkeypatch.setattr("app.services.limits.breaker._LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr("app.services.limits.breaker._FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("app.services.transfer._FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("app.services.transfer._LONGEST_WAIT_S", 0.05)
    rig.run()
    DriveFaults.rig = rig
    run_state_machine_as_test(
        DriveFaults,
        settings=settings(
            max_examples=40, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
