"""Numbers for names: few questions, the right answer."""

from hypothesis import given
from hypothesis import strategies as st

from app.destinations.google_drive.files import RemoteFile, quoted
from app.destinations.google_drive.names import _HIGHEST, probes
from app.destinations.google_drive.state import SavedSession
from app.destinations.google_drive.upload import _position


def search(taken: set[int]) -> tuple[int, int]:
    """As `Names.choose` does: the number found, and how often was asked."""
    low, high, asked = -1, _HIGHEST, 0
    while high != low + 1:
        asked += 1
        for number in probes(low, high):
            if number not in taken:
                high = min(high, number)
            elif number < high:
                low = max(low, number)
    return high, asked


def test_the_next_number_is_found_quickly() -> None:
    """Also among very many."""
    for count in (0, 1, 9, 10, 11, 100, 5_000, 100_000):
        found, asked = search(set(range(count)))
        assert found == count
        assert asked <= 8


@given(st.sets(st.integers(0, 300)))
def test_a_free_number_is_found_whatever_is_taken(taken: set[int]) -> None:
    """With gaps it need not be the first, and the one before is taken."""
    found, asked = search(taken)
    assert found not in taken
    assert found == 0 or found - 1 in taken
    assert asked < 12


def test_quoting() -> None:
    """A quote ends nothing, a backslash escapes nothing."""
    assert quoted("it's") == r"'it\'s'"
    assert quoted("a\\") == r"'a\\'"
    assert quoted(r"\' or name = 'x") == r"'\\\' or name = \'x'"


def test_positions() -> None:
    """Of `Range`; without it nothing is held."""
    assert _position(None, 100) == 0
    assert _position("bytes=0-0", 100) == 1
    assert _position("bytes=0-99", 100) == 100
    assert _position(" bytes = 0-41", 100) == 42


def test_a_resource_with_odd_members_is_read_as_far_as_it_goes() -> None:
    """Nothing in it can break the adapter."""
    odd = RemoteFile.parse(
        {"id": "x", "size": "many", "sha256Checksum": 7, "appProperties": [], "parents": None, "trashed": "yes"}
    )
    assert (odd.id, odd.size, odd.sha256, odd.parents, odd.trashed, odd.upload_id) == ("x", None, None, (), False, None)
    assert RemoteFile.parse({}).id == ""
    assert RemoteFile.parse({"sha256Checksum": "ABC"}).sha256 == "abc"


def test_a_saved_session_is_read_back() -> None:
    """And shows nothing of its secret, sealed as it is."""
    saved = SavedSession(file_id="i", parent="p", drive_id=None, name="n", sealed_uri="sealed")
    assert SavedSession.parse(saved.dump()) == saved
    assert "sealed" not in repr(saved).replace("sealed_uri", "")
    assert SavedSession.parse(saved.dump().replace("google-drive-1", "google-drive-9")) is None
    assert SavedSession.parse(saved.dump().replace('"n"', "7")) is None
    assert SavedSession.parse(saved.dump().replace('"name": "n", ', "")) is None
