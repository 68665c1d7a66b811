"""Credentials that the emulator honours, in the forms that Google's libraries read."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.testing.drive_emulator.tokens import CLIENT_ID, CLIENT_SECRET, FULL_SCOPE, Tokens

__all__ = ["authorized_user", "client_config", "service_account"]

_KEY_BITS = 2048


def authorized_user(tokens: Tokens, root: str, scopes: Sequence[str] = (FULL_SCOPE,)) -> dict[str, object]:
    """What `google.oauth2.credentials.Credentials.from_authorized_user_info` reads: somebody has logged in."""
    return {
        "type": "authorized_user",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": tokens.new_refresh_token(scopes),
        "token_uri": f"{root}/token",
        "scopes": list(scopes),
        "universe_domain": "googleapis.com",
    }


def service_account(tokens: Tokens, root: str, name: str = "forebay") -> dict[str, object]:
    """What `google.oauth2.service_account.Credentials.from_service_account_info` reads; makes a key, which takes a while."""
    email = f"{name}@emulator.iam.gserviceaccount.com"
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    tokens.add_service_account(email, key.public_key())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "type": "service_account",
        "project_id": "emulator",
        "private_key_id": "emulator",
        "private_key": pem.decode(),
        "client_email": email,
        "client_id": "1",
        "auth_uri": f"{root}/o/oauth2/v2/auth",
        "token_uri": f"{root}/token",
        "universe_domain": "googleapis.com",
    }


def client_config(root: str) -> dict[str, object]:
    """What `google_auth_oauthlib.flow.InstalledAppFlow.from_client_config` reads."""
    return {
        "installed": {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "project_id": "emulator",
            "auth_uri": f"{root}/o/oauth2/v2/auth",
            "token_uri": f"{root}/token",
            "redirect_uris": ["http://localhost"],
        }
    }
