r"""How a setting's value is written, in `.env` and in the process environment alike.

One grammar for both, because operators copy lines from one to the other and not every launcher strips comments:

- blanks around a value don't belong to it; empty means "not set";
- a `#` after a blank (or that begins the value and is followed by a blank) starts a comment, unless it stands inside
  a pair of quotes;
- a value that is wholly inside one pair of quotes loses them; within double quotes `\"` and `\\` stand for `"` and
  `\`, within single quotes nothing is special;
- nothing is interpolated (a `$` in a password stays), and a value ends with its line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from app.core.settings_errors import SettingsError

__all__ = ["EnvLine", "EnvSyntaxError", "parse_env", "plain_value", "read_env_file"]

_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')


class EnvSyntaxError(ValueError):
    """A line is neither blank, nor a comment, nor NAME=value."""

    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__(f"line {line} is not NAME=value")


class EnvLine(NamedTuple):
    """One assignment."""

    value: str
    line: int


def _closing(text: str, start: int) -> int:
    """Where the quote that opens at `start` closes; -1 when it never does."""
    quote = text[start]
    at = start + 1
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 1
        elif text[at] == quote:
            return at
        at += 1
    return -1


def _without_comment(text: str) -> str:
    at = 0
    while at < len(text):
        if text[at] in "\"'":
            at = max(at, _closing(text, at))  # a quote that never closes is an apostrophe
        elif text[at] == "#" and (text[at - 1].isspace() if at else text[1:2] in {"", " ", "\t"}):
            return text[:at]
        at += 1
    return text


def plain_value(raw: str) -> str:
    """The value meant by `raw`, everything that stands behind `NAME=`."""
    value = _without_comment(raw).strip()
    if value and value[0] in "\"'" and _closing(value, 0) == len(value) - 1:
        inside = value[1:-1]
        return _ESCAPED.sub(r"\1", inside) if value[0] == '"' else inside
    return value


def parse_env(text: str) -> dict[str, EnvLine]:
    """The assignments of an env file by name; of a name that is set twice the last one counts.

    Raises:
        EnvSyntaxError: a line can't be read. It is not skipped: the setting meant there would silently not apply.
    """
    found: dict[str, EnvLine] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(stripped)
        if match is None:
            raise EnvSyntaxError(number)
        found[match[1]] = EnvLine(plain_value(match[2]), number)
    return found


def read_env_file(env_file: Path | None) -> dict[str, EnvLine]:
    """The assignments in the file, names in upper case; nothing when there is no such file.

    Raises:
        SettingsError: it is there and can't be read.
    """
    if env_file is None:
        return {}
    try:
        found = parse_env(env_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except EnvSyntaxError as exc:
        msg = f"{env_file}: {exc}"
        raise SettingsError(msg) from None
    except UnicodeDecodeError:
        msg = f"{env_file}: is not UTF-8 text"
        raise SettingsError(msg) from None
    except OSError as exc:
        msg = f"{env_file}: can't be read: {exc.strerror}"
        raise SettingsError(msg) from exc
    return {name.upper(): line for name, line in found.items()}
