"""The script's JSON: what it says, and what is said of one that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.testing.drive_emulator import (
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    Fault,
    LoseAnswer,
    Operation,
    Rule,
    ScriptError,
    SlowRead,
    Stall,
    Status,
    WrongDigest,
    parse_rules,
)


@pytest.mark.parametrize(
    ("fault", "parsed"),
    [
        ({"status": 503}, Status(503)),
        (
            {"status": 403, "reason": "r", "message": "m", "retry_after": 3, "when": "after"},
            Status(403, "r", "m", 3, "after"),
        ),
        ({"commit_less": 262144}, CommitLess(262144)),
        ({"lose_answer": True}, LoseAnswer()),
        ({"error_in_200": True}, ErrorIn200()),
        ({"error_in_200": True, "reason": "r", "when": "after"}, ErrorIn200(reason="r", when="after")),
        ({"expire": 410}, Expire(410)),
        ({"stall": 2}, Stall(2)),
        ({"stall": 0.5, "at": 100, "then": "cut"}, Stall(0.5, 100, "cut")),
        ({"cut_after": 0}, CutAfter(0)),
        ({"wrong_digest": True}, WrongDigest()),
        ({"slow_read": 1000}, SlowRead(1000)),
    ],
)
def test_every_fault_has_a_form(fault: dict[str, Any], parsed: Fault) -> None:
    """Named by its word."""
    assert parse_rules(json.dumps([{"on": "upload.put", "fault": fault}])) == (Rule(Operation.UPLOAD_PUT, parsed),)


def test_rules_say_how_often() -> None:
    """And are kept in order; null is without end."""
    rules = parse_rules(
        [
            {"on": "any", "fault": {"status": 500}, "skip": 2, "times": 3, "probability": 0.25},
            {"on": "upload.finish", "fault": {"lose_answer": True}, "times": None},
        ]
    )
    assert rules == (Rule("any", Status(500), 2, 3, 0.25), Rule("upload.finish", LoseAnswer()))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("{", "the script is not JSON"),
        ("{}", "must be a list"),
        ("[1]", "rule 1: must be an object"),
        ('[{"on": "about"}]', "rule 1: fault must be an object"),
        (
            '[{"on": "about", "fault": {"status": 500}}, {"on": "upload", "fault": {"status": 500}}]',
            "rule 2: on: 'upload'",
        ),
        ('[{"on": "about", "fault": {"status": 500}, "time": 1}]', "unknown word 'time'"),
        ('[{"on": "about", "fault": {"status": 500}, "times": 0}]', "times at least 1"),
        ('[{"on": "about", "fault": {"status": 500}, "times": "2"}]', "whole numbers"),
        ('[{"on": "about", "fault": {"status": 500}, "skip": true}]', "whole numbers"),
        ('[{"on": "about", "fault": {"status": 500}, "probability": 2}]', "probability"),
        ('[{"on": "about", "fault": {"status": 500}, "probability": "x"}]', "probability"),
        ('[{"on": "about", "fault": {}}]', "exactly one of"),
        ('[{"on": "about", "fault": {"status": 500, "stall": 1}}]', "exactly one of"),
        ('[{"on": "about", "fault": {"status": 200}}]', "200 is no error"),
        ('[{"on": "about", "fault": {"status": "500"}}]', "status can't be '500'"),
        ('[{"on": "about", "fault": {"status": 500, "when": "later"}}]', "when can't be 'later'"),
        ('[{"on": "about", "fault": {"status": 500, "why": 1}}]', "unknown word 'why'"),
        ('[{"on": "about", "fault": {"expire": 403}}]', "expire can't be 403"),
        ('[{"on": "about", "fault": {"lose_answer": false}}]', "lose_answer can't be False"),
        ('[{"on": "about", "fault": {"stall": -1}}]', "stall can't be -1"),
        ('[{"on": "upload.put", "fault": {"slow_read": 0}}]', "slow_read"),
        ('[{"on": "about", "fault": {"commit_less": 1}}]', "about: "),
        ('[{"on": "files.get", "fault": {"expire": 404}}]', "files.get: "),
        ('[{"on": "upload.finish", "fault": {"status": 500}}]', "before the body was taken"),
        ('[{"on": "upload.finish", "fault": {"commit_less": 1}}]', "upload.finish: "),
    ],
)
def test_a_wrong_script_is_refused_with_the_rule_and_the_word(script: str, said: str) -> None:
    """So that one finds it."""
    with pytest.raises(ScriptError) as refused:
        parse_rules(script)
    assert said in str(refused.value)


def test_a_rule_in_python_is_checked_as_well() -> None:
    """By the same rules."""
    with pytest.raises(ScriptError, match="is none of"):
        Rule("uploads", Status(500))
    with pytest.raises(ValueError, match="is no error"):
        Status(308)
