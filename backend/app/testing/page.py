"""A page of documentation as a person goes through it: heading by heading, sentence by sentence, block by block."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Fence", "Heading", "Prose", "commands_of", "read_page", "settings_of", "stanzas_of"]

_FENCE: Final = re.compile(r"(?P<indent> *)```(?P<language>\w*)")
_ASSIGNMENT: Final = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, without its marks and pictures."""

    text: str


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph; list items that follow one another are one."""

    text: str


@dataclass(frozen=True, slots=True)
class Fence:
    """A block between ``` lines; `language` is empty where none is named."""

    language: str
    lines: tuple[str, ...]


def read_page(text: str) -> Iterator[Heading | Prose | Fence]:
    """Everything on a Markdown page but its blank lines, in order.

    Raises:
        ValueError: a block is never closed.
    """
    lines = iter(text.splitlines())
    paragraph: list[str] = []
    for line in lines:
        opening = _FENCE.fullmatch(line.rstrip())
        ends = opening or line.startswith("#") or not line.strip()
        if not ends:
            paragraph.append(line.strip())
            continue
        if paragraph:
            yield Prose(" ".join(paragraph))
            paragraph = []
        if opening:
            indent, inside = len(opening["indent"]), []
            for each in lines:
                if each.strip() == "```":
                    break
                inside.append(each[indent:] if not each[:indent].strip() else each)
            else:
                raise ValueError("a block is never closed")
            yield Fence(opening["language"], tuple(inside))
        elif line.startswith("#"):
            yield Heading(re.sub(r"^[^\w`]+", "", line))
    if paragraph:
        yield Prose(" ".join(paragraph))


def settings_of(lines: tuple[str, ...]) -> bool:
    """Whether a block is made of lines of `.env` only: assignments, comments, blanks."""
    told = [line for line in lines if line.strip() and not line.startswith("#")]
    return bool(told) and all(_ASSIGNMENT.fullmatch(line) for line in told)


def stanzas_of(lines: tuple[str, ...]) -> list[list[str]]:
    """A block's parts between blank lines."""
    stanzas: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            stanzas[-1].append(line)
        elif stanzas[-1]:
            stanzas.append([])
    return [stanza for stanza in stanzas if stanza]


def commands_of(lines: tuple[str, ...]) -> list[str]:
    """A block's commands, comments among them; those of several lines are whole, as bash itself sees it.

    Raises:
        ValueError: bash can't read the last one.
    """
    found: list[str] = []
    partial = ""
    for line in lines:
        partial = f"{partial}\n{line}" if partial else line
        if not partial.strip():
            partial = ""
        elif partial.startswith("#") or _is_whole(partial):
            found.append(partial)
            partial = ""
    if partial:
        msg = f"not a whole command: {partial}"
        raise ValueError(msg)
    return found


def _is_whole(command: str) -> bool:
    checked = subprocess.run(["bash", "-n"], input=command.encode(), capture_output=True, check=False)  # noqa: S607
    return checked.returncode == 0 and b"unexpected EOF" not in checked.stderr and not command.endswith("\\")
