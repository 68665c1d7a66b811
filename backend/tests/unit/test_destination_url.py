"""Destinations from the settings."""

from pathlib import Path

import pytest

from app.core.settings import Settings
from app.destinations import DestinationUrlError, from_url
from app.destinations.disk import DiskDestination


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("disk:/srv/files", Path("/srv/files")),
        ("disk:///srv/files", Path("/srv/files")),
        ("DISK:/srv/a b", Path("/srv/a b")),
        ("disk:var/files", Path.cwd() / "var/files"),
        ("disk:~/files", Path.home() / "files"),
    ],
)
def test_a_directory_is_named_by_its_path(url: str, root: Path) -> None:
    """Absolute, relative to where the server runs, or to the home directory; nothing is made."""
    destination = from_url(url, Settings())
    assert isinstance(destination, DiskDestination)
    assert destination.root == root


@pytest.mark.parametrize(
    "url", ["", "disk", "/srv/files", "ftp://host/x", "disk:", "disk: ", "disk://host/x", "disk:~nobody-here/x"]
)
def test_what_cannot_be_used_is_told_in_one_line(url: str) -> None:
    """The line names what would be right."""
    with pytest.raises(DestinationUrlError, match="disk:") as refused:
        from_url(url, Settings())
    assert "\n" not in str(refused.value)
