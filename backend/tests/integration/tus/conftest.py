"""What tests of tus share: a client of the product, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.testing.api_client import ApiClient
from app.testing.product import Product
from app.testing.tus_client import Tus


@pytest.fixture
def tus(api: ApiClient) -> Tus:
    """Of the product with its defaults."""
    return Tus(api)


@pytest.fixture
def stored(product: Product) -> Callable[[str], bytes]:
    """`stored(name)`: what is at the destination under that name, once it is there."""

    def read(name: str) -> bytes:
        file = product.data_dir / "files" / name
        product.wait_for(file.exists)
        return file.read_bytes()

    return read


@pytest.fixture
def some_came(product: Product) -> Callable[[str], None]:
    """`some_came(path)`: wait until a request under way has brought something; the kernel may hold the rest of it."""

    def wait(path: str) -> None:
        upload_id = path.rpartition("/")[2]

        def has_come() -> bool:
            live = product.server.context.uploads.under_way(upload_id)
            if live is None:
                return False
            return live.recorded.prefix > 0 or any(each.received() for each in live.receivers.values())

        product.wait_for(has_come)

    return wait


@pytest.fixture
def nobody_sends(product: Product) -> Callable[[str], None]:
    """`nobody_sends(path)`: wait until no request brings anything to the upload."""

    def wait(path: str) -> None:
        upload_id = path.rpartition("/")[2]

        def quiet() -> bool:
            live = product.server.context.uploads.under_way(upload_id)
            return live is None or not live.receivers

        product.wait_for(quiet)

    return wait


@pytest.fixture
def stands(product: Product) -> Callable[[str, int], None]:
    """`stands(path, count)`: wait until so many bytes of it are recorded."""

    def wait(path: str, count: int) -> None:
        upload_id = path.rpartition("/")[2]

        def recorded() -> bool:
            live = product.server.context.uploads.under_way(upload_id)
            return live is not None and live.recorded.prefix == count

        product.wait_for(recorded)

    return wait


@pytest.fixture
def completed(product: Product) -> Callable[[str], None]:
    """`completed(path)`: wait until its file is at the destination, and the server knows."""

    def wait(path: str) -> None:
        upload_id = path.rpartition("/")[2]
        product.wait_for(lambda: product.server.context.uploads.under_way(upload_id) is None)

    return wait
