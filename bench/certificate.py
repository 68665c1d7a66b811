"""A certificate for servers on this machine that speak TLS, and who signs it."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["Certificate", "connection"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files; whoever trusts `authority` trusts a server with the others."""

    chain: Path
    key: Path
    authority: Path

    @classmethod
    def made(cls, directory: Path) -> Certificate:
        """A new one, for localhost and 127.0.0.1; ECDSA on P-256, as a public authority signs today."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        directory.mkdir(parents=True, exist_ok=True)
        made = cls(directory / "chain.pem", directory / "key.pem", directory / "authority.pem")
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(made.chain, append=number > 0)
        issued.private_key_pem.write_to_path(made.key)
        authority.cert_pem.write_to_path(made.authority)
        return made


def connection(port: int, authority: Path | None = None, *, source: str = "127.0.0.1") -> http.client.HTTPConnection:
    """To a server on this machine, over TLS where `authority` is to be trusted."""
    host, timeout, source_address = "127.0.0.1", 120, (source, 0)
    if authority is None:
        return http.client.HTTPConnection(host, port, timeout, source_address)
    context = ssl.create_default_context(cafile=authority)
    return http.client.HTTPSConnection(host, port, timeout=timeout, source_address=source_address, context=context)
