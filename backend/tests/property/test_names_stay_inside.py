"""Names that pass stay inside."""

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidName
from app.core.names import numbered, validate_filename, validate_folder

TRICKY = st.lists(
    st.sampled_from(["/", "\\", ".", "..", "~", ":", " ", "\0", "a", "C", ".forebay", "%2e", "\u202e", "\ud800"]),
    max_size=8,
).map("".join)
ANY = st.one_of(TRICKY, st.text(st.characters(exclude_categories=()), max_size=300))


@given(ANY, ANY)
def test_a_path_of_valid_names_never_leaves_the_root(folder: str, name: str) -> None:
    """Joined to a root, it lies below it, as written, and can be told apart from its folder."""
    try:
        path = posixpath.join("/root", validate_folder(folder), validate_filename(name))
    except InvalidName:
        return
    assert posixpath.normpath(path) == path
    assert path.startswith("/root/")
    assert posixpath.basename(path) == name
    assert len(name.encode()) <= 255


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=300), st.integers(1, 10**9))
def test_a_numbered_name_is_valid_and_another(name: str, number: int) -> None:
    """Whatever the destination makes of a valid name could have been sent by the client."""
    try:
        validate_filename(name)
    except InvalidName:
        return
    changed = numbered(name, number)
    assert validate_filename(changed) == changed
    assert changed != name or f" ({number})" in name
    assert f" ({number})" in changed
