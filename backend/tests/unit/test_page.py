"""Pages are read as a person reads them, and as bash does."""

from __future__ import annotations

import pytest

from app.testing.page import Fence, Heading, Prose, commands_of, read_page, settings_of, stanzas_of

PAGE = """## 🚀 Title, *here*

One
two.

1. Item:
   ```bash
   # Set in .env
   NAME=1  # why
   ```
2. Next
```
  shown
```
"""


def test_everything_comes_in_order() -> None:
    """Pictures and indentation are not part of it; paragraphs are one."""
    assert list(read_page(PAGE)) == [
        Heading("Title, *here*"),
        Prose("One two."),
        Prose("1. Item:"),
        Fence("bash", ("# Set in .env", "NAME=1  # why")),
        Prose("2. Next"),
        Fence("", ("  shown",)),
    ]


def test_a_block_that_is_never_closed_is_refused() -> None:
    """Else the rest of the page would silently not be tried."""
    with pytest.raises(ValueError, match="never closed"):
        list(read_page("```bash\nls\n"))


def test_settings_are_told_from_commands() -> None:
    """By their lines: assignments, comments and blanks only."""
    assert settings_of(("# Set", "A_B=1", "", "C=2  # x"))
    assert not settings_of(("A=1", "ls"))
    assert not settings_of(("# only a comment",))


def test_stanzas_are_parted_by_blank_lines() -> None:
    """However many."""
    assert stanzas_of(("a", "b", "", "", "c", "")) == [["a", "b"], ["c"]]


def test_a_command_of_several_lines_is_one() -> None:
    """Loops, quotes, pipes at the end of a line, continued lines; comments stand alone."""
    lines = (
        "# why",
        "for x in 1; do",
        "    echo $x",
        "done",
        "",
        "echo 'a",
        "b'",
        "ls \\",
        "  -l",
        "ls |",
        "cat",
        "pwd",
    )
    assert commands_of(lines) == [
        "# why",
        "for x in 1; do\n    echo $x\ndone",
        "echo 'a\nb'",
        "ls \\\n  -l",
        "ls |\ncat",
        "pwd",
    ]


def test_half_a_command_is_refused() -> None:
    """A page that ends a block too early is wrong."""
    with pytest.raises(ValueError, match="not a whole command"):
        commands_of(("for x in 1; do",))
