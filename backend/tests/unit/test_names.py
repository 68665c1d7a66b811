"""Which names may be stored."""

import pytest

from app.core.errors import InvalidName
from app.core.names import numbered, validate_filename, validate_folder

GOOD = [
    "a",
    "report.pdf",
    ".htaccess",
    "...",
    " leading and trailing ",
    "C:",
    "naïve 文件 👩‍👩‍👧.txt",
    "x" * 255,
    "ü" * 127,
    "semi;colon 'quotes' \"double\" $HOME `id` %2e%2e%2f",
    "-rf",
]
BAD = {
    "": "empty",
    ".": "'.'",
    "..": "'..'",
    "a/b": "slashes",
    "/etc/passwd": "slashes",
    "..\\windows": "backslashes",
    "a\0b": "U+0000",
    "a\nb": "U+000A",
    "\x1b[31m": "U+001B",
    "\x7f": "U+007F",
    "\x85": "U+0085",
    "\ud800": "surrogate U+D800",
    "invoice\u202efdp.exe": "U+202E",
    "\u2066x\u2069": "U+2066",
    "line\u2028separator": "U+2028",
    "x" * 256: "255 bytes",
    "ü" * 128: "255 bytes",
    "   ": "white space",
    "\u3000": "white space",
    ".forebay": "server's own",
    ".Forebay-x": "server's own",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_plain_name_passes_unchanged(name: str) -> None:
    """Names are data: whatever a file system can keep as one component is kept."""
    assert validate_filename(name) == name


@pytest.mark.parametrize(("name", "reason"), BAD.items(), ids=ascii)
def test_a_bad_name_is_refused_with_the_reason(name: str, reason: str) -> None:
    """The sentence says what is wrong, in characters that can be logged."""
    with pytest.raises(InvalidName) as refused:
        validate_filename(name)
    assert reason in refused.value.detail
    assert refused.value.detail.isprintable()


@pytest.mark.parametrize("folder", ["", "a", "a/b/c", "2026/Ümläute", "a/C:/b", "/".join(["x" * 63] * 32)])
def test_a_relative_folder_passes_unchanged(folder: str) -> None:
    """Also none at all: the root."""
    assert validate_folder(folder) == folder


@pytest.mark.parametrize(
    "folder",
    [
        *(
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "../a",
            "C:/a",
            "c:",
            "a\\b",
            "a/\0",
            "a/.forebay",
            ".forebay/x",
        ),
        "a/" + "x" * 256,
        "/".join(["x" * 63] * 33),
    ],
)
def test_a_bad_folder_is_refused(folder: str) -> None:
    """Anything absolute, climbing, empty in the middle, too long or ours."""
    with pytest.raises(InvalidName):
        validate_folder(folder)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo (1).jpg"),
        ("photo", "photo (1)"),
        (".bashrc", ".bashrc (1)"),
        ("archive.tar.gz", "archive.tar (1).gz"),
        ("x" * 255, "x" * 251 + " (1)"),
        ("x" * 251 + ".jpg", "x" * 247 + " (1).jpg"),
        ("ü" * 127, "ü" * 125 + " (1)"),
        ("a." + "b" * 200, "a." + "b" * 200 + " (1)"),
    ],
)
def test_a_number_goes_before_the_suffix(name: str, expected: str) -> None:
    """And a long name is shortened at a whole character."""
    assert numbered(name, 1) == expected
