"""The kinds of values that settings have beyond pydantic's own; each refuses with a sentence that says what is allowed."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

__all__ = [
    "DatabaseUrl",
    "DestinationMap",
    "DestinationUrl",
    "ListenAddress",
    "Networks",
    "Origins",
    "PublicUrl",
    "RequestHosts",
]

_DESTINATION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DESTINATION_URL = re.compile(r"gdrive:|[a-z][a-z0-9+.-]*:[^\x00-\x1f\x7f]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_PUBLIC_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")
_DATABASE_URL = re.compile(r"(sqlite:///|postgresql(\+psycopg)?://)\S+")


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _listen_address(value: str) -> str:
    if not _is_address(value) and not _HOST_NAME.fullmatch(value):
        msg = "must be an address or host name without scheme and port, such as 127.0.0.1"
        raise ValueError(msg)
    return value


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _request_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    for item in value:
        if not _is_address(item.strip("[]")) and not _HOST_NAME.fullmatch(item):
            msg = f"{item!r} must be a host name without scheme and port"
            raise ValueError(msg)
    return tuple(item.lower() for item in value)


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for item in value:
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError:
            msg = f"{item!r} must be an address or network, such as 127.0.0.1 or 10.0.0.0/8"
            raise ValueError(msg) from None
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    origins = tuple(item.rstrip("/").lower() for item in value)
    for item, origin in zip(value, origins, strict=True):
        if not _ORIGIN.fullmatch(origin):
            msg = f"{item!r} must be an origin such as https://app.example.org"
            raise ValueError(msg)
    return origins


def _public_url(value: str) -> str:
    if not _PUBLIC_URL.fullmatch(value):
        msg = "must be an http or https address without user, query and fragment"
        raise ValueError(msg)
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    if not _DATABASE_URL.fullmatch(value.get_secret_value()):
        msg = "must be sqlite:///PATH or postgresql+psycopg://… with no blanks in it"
        raise ValueError(msg)
    return value


def _destination_url(value: str) -> str:
    if value and not _DESTINATION_URL.fullmatch(value):
        hint = f" (did you mean disk:{value}?)" if value.startswith(("/", "./", "../")) else ""
        msg = f"must be a destination such as disk:PATH{hint}"
        raise ValueError(msg)
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            msg = f"must not have the name {name!r} twice"
            raise ValueError(msg)
    return dict(pairs)


def _json_object(value: object) -> object:
    """A JSON object as it is written in an environment; a name given twice is a mistake, not a choice."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value, object_pairs_hook=_unique)
    except json.JSONDecodeError as exc:
        msg = f'must be a JSON object such as {{"archive": "disk:/srv/archive"}}: {exc.msg} at character {exc.pos + 1}'
        raise ValueError(msg) from None
    except RecursionError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
        msg = 'must be a JSON object of texts such as {"archive": "disk:/srv/archive"}'
        raise ValueError(msg)
    return found


def _destinations(value: dict[str, str]) -> dict[str, str]:
    for name, url in value.items():
        if not _DESTINATION_NAME.fullmatch(name):
            msg = f"the name {name!r} must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
            raise ValueError(msg)
        if name == "default":
            msg = "the name 'default' is taken by FOREBAY_DESTINATION"
            raise ValueError(msg)
        try:
            _destination_url(url or " ")
        except ValueError as exc:
            msg = f"{name!r} {exc}"
            raise ValueError(msg) from None
    return value


_Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

ListenAddress = Annotated[str, AfterValidator(_listen_address)]
RequestHosts = Annotated[_Names, AfterValidator(_request_hosts)]
Networks = Annotated[_Names, AfterValidator(_networks)]
Origins = Annotated[_Names, AfterValidator(_origins)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
DestinationUrl = Annotated[str, AfterValidator(_destination_url)]
DestinationMap = Annotated[dict[str, str], NoDecode, BeforeValidator(_json_object), AfterValidator(_destinations)]
