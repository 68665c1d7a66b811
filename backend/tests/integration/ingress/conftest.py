"""What tests of plain and of encrypted connections share."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A certificate for localhost, and a client that believes it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    directory = tmp_path_factory.mktemp("tls")
    chain, key = directory / "cert.pem", directory / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return {"certificate": (str(chain), str(key)), "client_context": context}
