"""What is said for each of the token endpoint's refusals."""

from __future__ import annotations

import pytest

from app.core.errors import DestinationLoginLost, DestinationRefused, DestinationUnavailable
from app.destinations.google_drive.login_file import Kind, Login, Stamp
from app.destinations.google_drive.refusals import Refusal, refusal_error

USER = Login(Kind.USER, {}, (), "", None, open_to_others=False, stamp=Stamp(1, 1, 1))
BOT = "bot@p.iam.gserviceaccount.com"
ACCOUNT = Login(Kind.SERVICE_ACCOUNT, {}, (), BOT, None, open_to_others=False, stamp=Stamp(1, 1, 1))
TIMEFRAME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp"
    " values in the JWT claim."
)


@pytest.mark.parametrize(
    ("login", "code", "description", "ahead_s", "said"),
    [
        (USER, "invalid_grant", "Bad Request", None, "7 days"),
        (USER, "invalid_client", "Unauthorized", None, "--client-secrets"),
        (USER, "deleted_client", "", None, "--client-secrets"),
        (USER, "admin_policy_enforced", "", None, "Workspace administrator"),
        (USER, "access_denied", "Account restricted", None, "administrator"),
        (ACCOUNT, "invalid_grant", TIMEFRAME, None, "see that this machine's clock is right"),
        (ACCOUNT, "invalid_grant", TIMEFRAME, 3 * 3600.0, "3 hours ahead of"),
        (ACCOUNT, "invalid_grant", TIMEFRAME, -90.0, "90 seconds behind"),
        (ACCOUNT, "invalid_grant", "Invalid JWT Signature.", 1.0, "deleted or disabled"),
        (ACCOUNT, "invalid_grant", "Invalid email or User ID", 1.0, "FOREBAY_GOOGLE_DRIVE_SUBJECT"),
        (ACCOUNT, "invalid_grant", "Invalid grant: account not found", 1.0, "still exists"),
        (ACCOUNT, "unauthorized_client", "Client is unauthorized", 1.0, "domain-wide delegation"),
    ],
)
def test_a_lost_login_says_what_to_do(
    login: Login, code: str, description: str, ahead_s: float | None, said: str
) -> None:
    """In plain words, with Google's in brackets."""
    error = refusal_error(login, Refusal(400, code, description), ahead_s)
    assert isinstance(error, DestinationLoginLost)
    assert said in str(error)
    assert f"({code}" in str(error)
    assert ("7 days" in str(error)) is (login is USER and code == "invalid_grant")


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refusal(None), DestinationUnavailable),
        (Refusal(500), DestinationUnavailable),
        (Refusal(503, "invalid_grant"), DestinationUnavailable),
        (Refusal(429), DestinationUnavailable),
        (Refusal(400, "temporarily_unavailable"), DestinationUnavailable),
        (Refusal(404), DestinationRefused),
        (Refusal(200), DestinationRefused),
    ],
)
def test_what_passes_is_not_a_lost_login(refusal: Refusal, kind: type[Exception]) -> None:
    """Nobody is sent to log in because Google is busy."""
    assert type(refusal_error(USER, refusal, None)) is kind


def test_what_google_says_can_not_spoil_a_line() -> None:
    """No control characters, no endless text."""
    said = str(refusal_error(USER, Refusal(400, "invalid_grant", "a\nb\x1b[31m" + "x" * 5000), None))
    assert said.isprintable()
    assert len(said) < 600
