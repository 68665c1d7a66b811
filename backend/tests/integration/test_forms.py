"""HTML forms and `curl -F`, and `curl -T` of any size: ordinary requests that become ordinary uploads."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.testing.api_client import ApiClient, Reply, refusal
from app.testing.product import Product

ROOT = "/api/v1/forms"
MIB = 1 << 20
BOUNDARY = "----x123"


def curl(*arguments: str, stdin: bytes | None = None) -> Any:
    """The JSON that curl was answered; it fails where that is an error."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail-with-body", *arguments],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def part(content: bytes, name: str = "file", filename: str | None = None, *lines: str) -> bytes:
    """A part with its boundary in front."""
    said = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = "\r\n".join([f"--{BOUNDARY}", f"Content-Disposition: {said}", *lines])
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def post(api: ApiClient, body: bytes, **fields: str) -> Reply:
    """Send one."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return api.request(
        "POST", ROOT, body, {**headers, **{name.replace("_", "-"): value for name, value in fields.items()}}
    )


# -- curl ----------------------------------------------------------------------------------------------------------------


def test_files_of_a_form(product: Product, tmp_path: Path) -> None:
    """Several, with names of any kind, each with its media type and folder."""
    contents = {"größe 文.bin": os.urandom(3 * MIB + 5), "small.txt": b"hello", "empty.bin": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = [f"-Ff=@{tmp_path / name}" for name in contents]
    answer = curl("-Fpath=a/b", *files, "-Fnote=ignored", f"{product.url}{ROOT}")
    assert [upload["filename"] for upload in answer["uploads"]] == list(contents)
    assert {upload["state"] for upload in answer["uploads"]} == {"completed"}
    assert answer["uploads"][1]["media_type"] == "text/plain"
    for name, content in contents.items():
        assert (product.files / "a" / "b" / name).read_bytes() == content
    product.wait_for(product.quiescent)


def test_a_large_file_is_streamed(product: Product, tmp_path: Path) -> None:
    """Several times the pool; from a pipe, too."""
    content = os.urandom(40 * MIB)
    file = tmp_path / "large.bin"
    file.write_bytes(content)
    curl(f"-Ff=@{file}", f"{product.url}{ROOT}")
    assert (product.files / "large.bin").read_bytes() == content
    curl("-Ff=@-;filename=piped.bin", "-HTransfer-Encoding: chunked", f"{product.url}{ROOT}", stdin=content)
    assert (product.files / "piped.bin").read_bytes() == content
    product.wait_for(product.quiescent)


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 1, 40 * MIB])
def test_a_file_from_a_pipe(product: Product, size: int) -> None:
    """`curl -T -`: no length is said."""
    content = os.urandom(size)
    answer = curl("-T", "-", f"{product.url}/api/v1/files/piped.bin", stdin=content)
    assert (answer["size"], answer["state"]) == (size, "completed")
    assert (product.files / "piped.bin").read_bytes() == content


def test_a_file_of_more_than_a_chunk(product: Product, tmp_path: Path) -> None:
    """`curl -T`: in a single request as well."""
    content = os.urandom(40 * MIB)
    (tmp_path / "large.bin").write_bytes(content)
    answer = curl("-T", str(tmp_path / "large.bin"), f"{product.url}/api/v1/files/large.bin")
    assert answer["state"] == "completed"
    assert (product.files / "large.bin").read_bytes() == content


# -- one request ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(
        st.binary(max_size=300)
        | st.sampled_from(
            [b"\r\n", b"\r\n--", f"\r\n--{BOUNDARY[:-1]}".encode(), b"--" + BOUNDARY.encode(), b"\r" * 99]
        ),
        min_size=1,
        max_size=4,
    ),
    cuts=st.lists(st.integers(1, 200), max_size=8),
)
def test_any_content_cut_anywhere(product: Product, contents: list[bytes], cuts: list[int]) -> None:
    """Also what looks like the beginning of a boundary, in pieces of any size."""
    body = form(*(part(content, filename="f") for content in contents))
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(body[start : start + cut])
        start += cut
    pieces.append(body[start:])
    with product.client() as api:
        api.connection.request(
            "POST",
            ROOT,
            (piece for piece in pieces if piece),
            {"Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"'},
            encode_chunked=True,
        )
        reply = api.connection.getresponse()
        uploads = json.loads(reply.read())["uploads"]
        assert reply.status == 201
        for upload, content in zip(uploads, contents, strict=True):
            assert api.request("GET", f"/api/v1/files/{upload['id']}/content").body == content


def test_a_browser_goes_on_to_the_page(api: ApiClient) -> None:
    """Who shows what comes is shown the upload page."""
    reply = post(api, form(part(b"1", filename="a")), Accept="text/html,application/xhtml+xml")
    assert (reply.status, reply.headers["location"]) == (303, "/")


def test_a_form_whose_file_was_not_chosen(api: ApiClient, product: Product) -> None:
    """The others are taken; a form without any is a mistake."""
    empty = part(b"", "f", "")
    assert [each["filename"] for each in post(api, form(empty, part(b"1", filename="a"))).json["uploads"]] == ["a"]
    refusal(post(api, form(empty)), 400, "invalid-request")
    refusal(post(api, form(part(b"content", "f", ""))), 400, "invalid-request")
    refusal(post(api, form()), 400, "invalid-request")


def test_fields_say_where_to(api: ApiClient, product: Product) -> None:
    """For the files behind them."""
    body = form(part(b"1", filename="a"), part(b"docs", "path"), part(b"fail", "on_conflict"), part(b"2", filename="a"))
    assert post(api, body).status == 201
    assert (product.files / "a").read_bytes() == b"1"
    assert (product.files / "docs" / "a").read_bytes() == b"2"
    taken = refusal(post(api, form(part(b"docs", "path"), part(b"fail", "on_conflict"), part(b"3", filename="a"))), 409)
    assert taken.code == "name-taken"


def test_what_came_before_a_refusal_is_named(api: ApiClient, product: Product) -> None:
    """It is stored; what is refused leaves nothing."""
    reply = refusal(post(api, form(part(b"1", filename="a"), part(b"2", filename="../b"))), 400, "invalid-name")
    (stored,) = reply.json["uploads"]
    product.wait_for(lambda: not product.server.context.uploads.live)
    assert [each["id"] for each in api.get("/api/v1/uploads?state=completed")["uploads"]] == [stored]
    assert [file.name for file in product.files.iterdir() if file.is_file()] == ["a"]


def test_a_client_that_leaves_leaves_nothing(api: ApiClient, product: Product) -> None:
    """Neither an upload, nor a buffer, nor a slot."""
    head = part(os.urandom(600_000), filename="a")
    with socket.create_connection(product.address, timeout=30) as sock:
        sock.sendall(
            f"POST {ROOT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
            + head
        )
        product.wait_for(lambda: bool(product.server.context.uploads.live))
    product.wait_for(lambda: not product.server.context.uploads.live)
    product.wait_for(product.quiescent)
    assert not list(product.files.glob("[!.]*"))


def test_nobody_else_adds_to_a_file_that_comes_in_one_request(api: ApiClient, product: Product) -> None:
    """It would be in the way of what comes there."""
    head = f"PUT /api/v1/files/large.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: {40 * MIB}\r\n\r\n"
    with socket.create_connection(product.address, timeout=30) as sock:
        sock.sendall(head.encode() + b"x")
        product.wait_for(lambda: bool(product.server.context.uploads.live))
        (live,) = product.server.context.uploads.live
        refusal(api.put_chunk(live.row.id, 1, b"y" * live.row.chunk_size), 409, "state-conflict")
    product.wait_for(product.quiescent)


def test_a_file_larger_than_allowed(start_product: Callable[..., Product]) -> None:
    """413 when it turns out; nothing of it is kept."""
    product = start_product(max_file_mb=1)
    with product.client() as api:
        refusal(post(api, form(part(b"x" * (MIB + 1), filename="a"))), 413)
        assert post(api, form(part(b"x" * MIB, filename="a"))).status == 201
        product.wait_for(product.quiescent)


def test_foreign_pages_can_not_send_one(api: ApiClient) -> None:
    """A form needs no script, and no preflight: Origin is looked at."""
    refusal(post(api, form(part(b"1", filename="a")), Origin="https://elsewhere.example"), 403, "forbidden")


def _many(count: int) -> Iterable[bytes]:
    return (part(b"", f"n{number}") for number in range(count))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        form(part(b"1", filename="a"))[:-10],
        b"--" + BOUNDARY.encode() + b"\r\n\r\nno header\r\n--" + BOUNDARY.encode() + b"--",
        form(part(b"1", "f", "a", "X: " + "y" * 5000)),
        form(part(b"1", "f", "a", *(f"X-{number}: y" for number in range(20)))),
        form(part(b"1", "f", "a", "Content-Length: 5")),
        form(part(b"1", "f", "a", "Content-Length: -1")),
        form(part(b"1", "f", "a", "no colon")),
        form(part(b"x" * 5000, "path")),
        form(part(b"\xff\xfe", "path"), part(b"1", filename="a")),
        form(part(b"../up", "path"), part(b"1", filename="a")),
        form(part(b"overwrite", "on_conflict"), part(b"1", filename="a")),
        form(part(b"http://10.0.0.1/", "destination"), part(b"1", filename="a")),
        form(part(b"1", filename="a\x00b")),
        form(part(b"1", filename="x" * 300)),
        form(*_many(1001)),
        b"x" * 600_000 + b"\r\n" + form(part(b"1", filename="a")),
        form(part(b"1", filename="a")).replace(b"form-data", b"attachment"),
        form(part(b"1", filename="a")).replace(b"\r\n", b"\n"),
    ],
)
def test_hostile_forms(api: ApiClient, product: Product, body: bytes) -> None:
    """400, with a sentence."""
    refusal(post(api, body), 400)
    product.wait_for(product.quiescent)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=x", 415),
        ("", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        (f"multipart/form-data; boundary={'x' * 71}", 400),
        ("multipart/form-data; boundary=x{y", 400),
        ('multipart/form-data; boundary="x "', 400),
        ('multipart/form-data; boundary="' + "\\" * 5000, 400),
    ],
)
def test_hostile_boundaries(api: ApiClient, content_type: str, status: int) -> None:
    """Refused before anything is read."""
    refusal(api.request("POST", ROOT, form(part(b"1", filename="a")), {"Content-Type": content_type}), status)


def test_an_endless_epilogue_is_cut_off(api: ApiClient) -> None:
    """Nothing is to come behind the last part."""
    refusal(post(api, form(part(b"1", filename="a")) + b"x" * MIB), 400, "invalid-request")
