"""tus, DELETE: termination."""

from __future__ import annotations

from collections.abc import Callable

from app.testing.api_client import refusal
from app.testing.product import Product
from app.testing.tus_client import Tus

Stored = Callable[[str], bytes]


def test_a_terminated_upload_is_gone(tus: Tus, product: Product) -> None:
    """Its room too, also while a request still brings bytes."""
    path = tus.begin(1 << 20)
    sock = tus.begin_patch(path, 0, 1 << 20, b"x" * 1000)
    assert tus.delete(path).status == 204
    sock.close()
    assert tus.head(path).status == 404
    refusal(tus.delete(path), 404, "not-found")
    product.wait_for(product.quiescent)
    assert not list(product.data_dir.glob("files/*"))


def test_a_finished_file_stays_where_it_is(tus: Tus, stored: Stored, completed: Callable[[str], None]) -> None:
    """Its upload is not found any more, as tus asks for; the file is not the upload."""
    path = tus.begin(5, "kept.bin")
    tus.patch(path, 0, b"hello")
    completed(path)
    assert tus.delete(path).status == 204
    assert tus.head(path).status == 404
    assert stored("kept.bin") == b"hello"
