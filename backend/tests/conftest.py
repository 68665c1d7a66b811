"""What several test files share: the whole product, in a thread or as a process."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from app.core.settings import load_settings
from app.main import _already_running, _application, build, ingress_config
from app.observability.logging import configure_logging
from app.persistence.engines import backend_for
from app.persistence.schema import bring_up_to_date
from app.testing.api_client import ApiClient
from app.testing.product import Assembly, Product
from app.testing.server_process import ServerProcess

# Tests start programs by the hundred: where the environment wants no bytecode kept, each would compile the product anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Small, so that a test costs what it tests; whatever a test is about, it sets itself.
_SMALL_PRODUCT = {"buffer_pool_mb": 8, "slab_kb": 256, "min_free_mb": 0, "port": 0}
_CGROUP_BYTES = 512 << 20
_SMALL_PROCESS = {"PARALLEL_UPLOAD_BUFFER_POOL_MB": "8", "PARALLEL_UPLOAD_SLAB_KB": "256"}


@pytest.fixture(scope="session", autouse=True)
def servers_that_end_at_once() -> Iterator[None]:
    """A server looks twenty times a second whether it should end, and tests end some thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.ingress.server._TICK_S", 0.002)
        yield


@cache
def _fresh_database() -> bytes:
    """As a first start leaves it: the migrations are half of what a start takes, and have tests of their own."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "forebay.sqlite3"
        backend = backend_for(f"sqlite:///{path}", busy_timeout_s=5)
        backend.prepare()
        engine = backend.writing()
        bring_up_to_date(backend, engine)
        engine.dispose()
        return path.read_bytes()


def _assemble(directory: Path, configure: Callable[[Any], None] | None, fields: dict[str, object]) -> Assembly:
    """What `app.main` runs, described; `configure` may exchange parts before anything is open."""
    given = {"data_dir": directory / "var", **_SMALL_PRODUCT, **fields}
    server = build(load_settings(env_file=None, environ={}, **given))
    if configure is not None:
        configure(server)
    return Assembly(
        application=_application(server, _already_running),
        ingress=ingress_config(server),
        running=server.running,
        before_drain=[server.before_drain],
        server=server,
        data_dir=server.settings.data_dir,
    )


@contextmanager
def _products(own: Path) -> Iterator[Callable[..., Product]]:
    """Starts products that log to `own`/server.log, and stops them."""
    with ExitStack() as running:
        log = running.enter_context((own / "server.log").open("w", encoding="utf-8"))
        running.callback(configure_logging(stream=log).close)

        def start(
            directory: Path = own, *, configure: Callable[[Any], None] | None = None, **fields: object
        ) -> Product:
            # Not on a disk of its own: a first start syncs what it makes, which is looked at there.
            if directory == own and not (own / "var").exists() and not fields.keys() & {"data_dir", "database_url"}:
                (own / "var").mkdir()
                (own / "var" / "forebay.sqlite3").write_bytes(_fresh_database())
            return running.enter_context(Product(_assemble(directory, configure, fields)))

        yield start


@pytest.fixture
def start_product(tmp_path: Path) -> Iterator[Callable[..., Product]]:
    """`start_product(directory=…, configure=…, **settings)`: the product in a thread, by setting field names."""
    with _products(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_module_product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Product]]:
    """The same for a product that a module's tests share; such a module starts no other one (logs are global)."""
    with _products(tmp_path_factory.mktemp("product")) as start:
        yield start


@pytest.fixture
def product(start_product: Callable[..., Product]) -> Product:
    """The product with its defaults, open to this machine as the user `local`."""
    return start_product()


@pytest.fixture
def api(product: Product) -> Iterator[ApiClient]:
    """A client of `product`."""
    with product.client() as client:
        yield client


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """`start_server(directory=…, prefix=…, **settings)`: the product as a process, by environment names."""
    with ExitStack() as running:

        def start(directory: Path = tmp_path, *, prefix: tuple[str, ...] = (), **settings: str) -> ServerProcess:
            server = ServerProcess(directory, {**_SMALL_PROCESS, **settings}, prefix=prefix, forked=not prefix)
            return running.enter_context(server)

        yield start


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many descriptors as this process may have, for a crowd of clients in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _cgroup_candidates() -> Iterator[tuple[Path, str]]:
    """Directories that a memory cgroup might be made in, each with the name of its limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield Path("/sys/fs/cgroup/memory" + path), "memory.limit_in_bytes"
            yield Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        elif not controllers:
            yield Path("/sys/fs/cgroup" + path), "memory.max"
            yield Path("/sys/fs/cgroup"), "memory.max"


@pytest.fixture
def cgroup(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A memory cgroup of 512 MiB, or of as many bytes as its parameter says; removed when its processes have ended."""
    limit_bytes = getattr(request, "param", _CGROUP_BYTES)
    refusals = []
    for parent, limit in _cgroup_candidates():
        group = parent / f"forebay-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as exc:
            refusals.append(str(exc))
            continue
        try:
            (group / limit).write_text(str(limit_bytes))
        except OSError as exc:
            refusals.append(str(exc))
            group.rmdir()
            continue
        yield group
        for _ in range(100):
            with suppress(OSError):  # a process that has just ended may still be counted in
                group.rmdir()
                return
            time.sleep(0.05)
        group.rmdir()
        return
    pytest.skip(f"no memory cgroup can be made here: {'; '.join(refusals) or 'no memory controller'}")
