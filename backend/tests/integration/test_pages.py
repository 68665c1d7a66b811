"""The pages as the server answers them: headers, forms, what does not exist."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.testing.api_client import ApiClient, refusal
from app.testing.product import Product
from app.web import Pages

Start = Callable[..., Product]
SCRIPT = b"console.log('up')\n" * 100


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a build leaves behind."""
    directory = tmp_path / "static"
    (directory / "assets").mkdir(parents=True)
    (directory / "index.html").write_text("<!doctype html><title>upload</title>")
    (directory / "ops.html").write_text("<!doctype html><title>operations</title>")
    (directory / "favicon.svg").write_text("<svg/>")
    script = directory / "assets" / "index-B3kz91.js"
    script.write_bytes(SCRIPT)
    script.with_name(script.name + ".gz").write_bytes(gzip.compress(SCRIPT))
    script.with_name(script.name + ".br").write_bytes(b"as brotli has it")
    (directory / "assets" / "notes.secret").write_text("no page")
    (tmp_path / "outside.js").write_text("outside")
    monkeypatch.setattr("app.main.Pages", lambda: Pages(directory))
    return directory


@pytest.fixture
def site(built: Path, start_product: Start) -> Iterator[ApiClient]:
    """A client of a server with pages."""
    with start_product().client() as client:
        yield client


def test_a_page_is_asked_for_anew_and_runs_nothing_but_our_files(site: ApiClient) -> None:
    """`/` and `/ops`, without a token."""
    for address, title in (("/", b"upload"), ("/ops", b"operations")):
        reply = site.request("GET", address)
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert title in reply.body
        assert reply.headers["cache-control"] == "no-cache"
        policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
        assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
        assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
        assert "unsafe" not in str(policy)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"


def test_an_asset_is_kept_for_a_year(site: ApiClient) -> None:
    """Its name has its content's hash."""
    reply = site.request("GET", "/assets/index-B3kz91.js")
    assert (reply.status, reply.body) == (200, SCRIPT)
    assert reply.headers["content-type"] == "text/javascript; charset=utf-8"
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-security-policy" in reply.headers
    assert site.request("GET", "/favicon.svg").headers["content-type"] == "image/svg+xml"


def test_the_form_follows_what_is_accepted_and_each_has_its_own_tag(site: ApiClient) -> None:
    """A cache must not take one for the other."""
    tags = set()
    for accepted, coding, body in (
        ("gzip, br", "br", b"as brotli has it"),
        ("gzip", "gzip", gzip.compress(SCRIPT)),
        ("identity", None, SCRIPT),
    ):
        reply = site.request("GET", "/assets/index-B3kz91.js", headers={"Accept-Encoding": accepted})
        assert (reply.headers.get("content-encoding"), reply.headers["vary"]) == (coding, "accept-encoding")
        assert gzip.decompress(reply.body) == SCRIPT if coding == "gzip" else reply.body == body
        again = site.request(
            "GET",
            "/assets/index-B3kz91.js",
            headers={"Accept-Encoding": accepted, "If-None-Match": reply.headers["etag"]},
        )
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", reply.headers["etag"])
        tags.add(reply.headers["etag"])
    assert len(tags) == 3


def test_head_says_what_get_would(site: ApiClient) -> None:
    """The same header, no body."""
    for address in ("/", "/ops", "/assets/index-B3kz91.js"):
        asked, got = site.request("HEAD", address), site.request("GET", address)
        assert (asked.status, asked.body) == (200, b"")
        same = ("content-length", "etag", "content-type", "cache-control", "content-security-policy")
        assert [asked.headers[name] for name in same] == [got.headers[name] for name in same]


@pytest.mark.parametrize(
    "address",
    [
        "/assets/../../outside.js",
        "/assets/%2e%2e/%2e%2e/outside.js",
        "/assets/..%2f..%2foutside.js",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/assets/..\\..\\outside.js",
        "/assets/index-B3kz91.js%00.html",
        "/assets/index-B3kz91.js/",
        "/assets/index-B3kz91.js.gz",
        "/assets/notes.secret",
        "/assets/",
        "/assets",
        "/index.html",
        "/ops.html",
        "/ops/",
        "/static/index.html",
    ],
)
def test_nothing_else_exists(site: ApiClient, address: str) -> None:
    """An address is a name, never a path."""
    refusal(site.request("GET", address), 404, "not-found")


def test_a_page_takes_no_other_method(site: ApiClient) -> None:
    """405, as everywhere."""
    for address in ("/", "/ops", "/assets/index-B3kz91.js"):
        refusal(site.request("POST", address, b"x"), 405, "method-not-allowed")


def test_a_build_under_a_running_server_is_not_mixed_with_the_former(site: ApiClient, built: Path) -> None:
    """It is there after the restart."""
    before = site.request("GET", "/").body
    (built / "index.html").write_text("new")
    assert site.request("GET", "/").body == before


def test_without_pages_there_are_none(built: Path, start_product: Start) -> None:
    """FOREBAY_WEB=false."""
    with start_product(web=False).client() as client:
        for address in ("/", "/ops", "/assets/index-B3kz91.js", "/favicon.svg"):
            refusal(client.request("GET", address), 404, "not-found")
        assert client.request("GET", "/docs").status == 200


def test_where_it_was_not_built_it_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_product: Start
) -> None:
    """A sentence instead of a page."""
    monkeypatch.setattr("app.main.Pages", lambda: Pages(tmp_path / "nowhere"))
    with start_product().client() as client:
        for address in ("/", "/ops"):
            reply = client.request("GET", address)
            assert (reply.status, reply.headers["content-type"]) == (503, "text/plain; charset=utf-8")
            assert b"make setup" in reply.body
        refusal(client.request("GET", "/assets/a.js"), 404, "not-found")
