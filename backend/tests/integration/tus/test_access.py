"""tus: who may, and from where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.testing.api_client import refusal
from app.testing.product import Product
from app.testing.tus_client import BYTES, ROOT, Tus


def test_another_users_upload_is_not_found(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """Addresses are users here."""
    product = start_product(tmp_path / "shared", auth="none")
    with product.client(source="127.0.0.2") as ann, product.client(source="127.0.0.3") as bob:
        path = Tus(ann).begin(10)
        assert Tus(bob).head(path).status == 404
        refusal(Tus(bob).patch(path, 0, b"x"), 404, "not-found")
        refusal(Tus(bob).delete(path), 404, "not-found")
        assert Tus(ann).patch(path, 0, b"0123456789").status == 204


def test_pages_of_allowed_origins_may(start_product: Callable[..., Product], tmp_path: Path) -> None:
    """What browsers ask first, and what they let such a page read."""
    product = start_product(tmp_path / "cors", cors_origins=("https://app.example.org",))
    with product.client() as api:
        asked = {
            "Origin": "https://app.example.org",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type,upload-checksum",
        }
        preflight = api.request("OPTIONS", f"{ROOT}/abc", headers=asked)
        assert preflight.status == 200
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        created = api.request("POST", ROOT, b"x", {**BYTES, "Upload-Length": "1", "Origin": "https://app.example.org"})
        readable = created.headers["access-control-expose-headers"].lower()
        assert all(name in readable for name in ("location", "upload-offset", "tus-resumable", "upload-expires"))
