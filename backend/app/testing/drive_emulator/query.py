"""The `q` parameter of files.list: the forms that clients use, joined by `and`, `or`, `not` and parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from app.testing.drive_emulator.errors import ApiRefusal, invalid_parameter
from app.testing.drive_emulator.model import DriveFile

__all__ = ["Test", "parse_query"]

Test = Callable[[DriveFile, bool], bool]
"""Asked with a file, and whether it is in the trash."""

_WORD = re.compile(r"\s*('(?:[^'\\]|\\.)*'|[A-Za-z]+|!=|<=|>=|[=<>(){}])")
_COMPARE: dict[str, Callable[[datetime, datetime], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _invalid() -> ApiRefusal:
    return invalid_parameter("q", "Invalid Value")


def parse_query(text: str | None, aliases: dict[str, str]) -> Test:
    """What a file must satisfy; `aliases` are names for ids, such as `root`.

    Raises:
        ApiRefusal: it can't be understood.
    """
    if not text or not text.strip():
        return lambda _file, _trashed: True
    parser = _Parser(text, aliases)
    test = parser.either()
    if parser.peek():
        raise _invalid()
    return test


class _Parser:
    def __init__(self, text: str, aliases: dict[str, str]) -> None:
        self._words: list[str] = []
        self._aliases = aliases
        text, at = text.rstrip(), 0
        while at < len(text):
            if (word := _WORD.match(text, at)) is None:
                raise _invalid()
            self._words.append(word[1])
            at = word.end()

    def peek(self) -> str:
        return self._words[0] if self._words else ""

    def _take(self, *allowed: str) -> str:
        word = self._words.pop(0) if self._words else ""
        if not word or (allowed and word not in allowed):
            raise _invalid()
        return word

    def _string(self) -> str:
        word = self._take()
        if not word.startswith("'"):
            raise _invalid()
        return re.sub(r"\\(.)", r"\1", word[1:-1])

    def either(self) -> Test:
        left = self._both()
        while self.peek() == "or":
            self._take()
            left = _or(left, self._both())
        return left

    def _both(self) -> Test:
        left = self._one()
        while self.peek() == "and":
            self._take()
            left = _and(left, self._one())
        return left

    def _one(self) -> Test:
        if self.peek() == "not":
            self._take()
            inner = self._one()
            return lambda file, trashed: not inner(file, trashed)
        if self.peek() == "(":
            self._take()
            inner = self.either()
            self._take(")")
            return inner
        if self.peek().startswith("'"):
            return self._membership()
        return self._comparison(self._take())

    def _membership(self) -> Test:
        value = self._string()
        self._take("in")
        match self._take("parents", "owners", "writers", "readers"):
            case "parents":
                parent = self._aliases.get(value, value)
                return lambda file, _trashed: parent in file.parents
            case _:
                email = None if value == "me" else value
                return lambda file, _trashed: email is None or file.owner == email

    def _comparison(self, name: str) -> Test:
        match name:
            case "name" | "mimeType":
                return self._text(name)
            case "trashed" | "starred" | "sharedWithMe":
                same = self._take("=", "!=") == "="
                wanted = (self._take("true", "false") == "true") is same
                return (lambda _file, trashed: trashed is wanted) if name == "trashed" else (lambda *_: not wanted)
            case "appProperties" | "properties":
                return self._properties(name)
            case "createdTime" | "modifiedTime":
                compare, moment = _COMPARE[self._take(*_COMPARE)], _moment(self._string())
                return lambda file, _: compare(file.created if name == "createdTime" else file.modified, moment)
            case _:
                raise _invalid()

    def _text(self, name: str) -> Test:
        how, wanted = self._take("=", "!=", "contains"), self._string()

        def test(file: DriveFile, _trashed: bool) -> bool:  # noqa: FBT001 - the form of a test
            value = file.name if name == "name" else file.mime_type
            if how == "contains":
                # Drive matches the beginnings of words in names, and prefixes of types.
                beginnings = re.split(r"[\s._-]+", value.lower()) if name == "name" else []
                return any(each.startswith(wanted.lower()) for each in [value.lower(), *beginnings])
            return (value == wanted) is (how == "=")

        return test

    def _properties(self, name: str) -> Test:
        self._take("has")
        self._take("{")
        self._take("key")
        self._take("=")
        key = self._string()
        self._take("and")
        self._take("value")
        self._take("=")
        value = self._string()
        self._take("}")
        return lambda file, _: (file.app_properties if name == "appProperties" else file.properties).get(key) == value


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid() from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _and(left: Test, right: Test) -> Test:
    return lambda file, trashed: left(file, trashed) and right(file, trashed)


def _or(left: Test, right: Test) -> Test:
    return lambda file, trashed: left(file, trashed) or right(file, trashed)
