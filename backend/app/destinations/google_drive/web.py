"""How OAuth's requests are made, which Google's libraries make with `requests`: trust, time limits, words for failures."""

from __future__ import annotations

import ssl
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

__all__ = ["LIMITS_S", "failure", "trust_the_system"]

LIMITS_S: Final = (5.0, 15.0)
"""Seconds to connect, and to wait for what comes next of an answer."""


class _Adapter(HTTPAdapter):
    """Trusts the certificate authorities of the system, as the rest of us does, besides those that `requests` brings."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - as its parent has it
        """Make the connections' pool."""
        super().init_poolmanager(*args, **more, ssl_context=ssl.create_default_context())


def trust_the_system(session: requests.Session) -> None:
    """For all that it asks from now on."""
    session.mount("https://", _Adapter())


def failure(exc: object) -> str:
    """Why there was no answer, without an address."""
    match exc:
        case requests.exceptions.SSLError():
            return "its certificate is not accepted; see that this machine's clock and CA certificates are right"
        case requests.exceptions.Timeout():
            return "no answer in time"
        case requests.exceptions.ProxyError():
            return "the proxy does not let us through"
        case requests.exceptions.TooManyRedirects():
            return "it sends us elsewhere"
        case _:
            return "no connection"
