"""Resumable uploads without a server: header fields in, values out."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InconsistentUploadLength, InvalidRequest, UnsupportedMediaType
from app.protocols import resumable
from app.protocols.resumable import Append, Creation, Interop, Limits

LABELLED = {"content-type": resumable.MEDIA_TYPE}
LIMITS = Limits(max_size=1000, lifetime_s=60.9)
NEWEST = resumable.speech_of({})


def speech(version: int) -> resumable.Speech:
    """As of a client that speaks it."""
    return resumable.speech_of({"upload-draft-interop-version": str(version)})


@pytest.mark.parametrize(
    ("field", "version"),
    [("5", Interop.V5), ("6", Interop.V6), ("8", Interop.V8)]
    + [(field, None) for field in ("3", "4", "7", "9", "?1", "", "8, 8", "-8", "8.0", "draft")],
)
def test_the_version_is_the_clients(field: str, version: Interop | None) -> None:
    """One that is unknown, or that nobody knows to read, is none."""
    assert resumable.speech_of({"upload-draft-interop-version": field}).version is version


@pytest.mark.parametrize("field", [None, "7", "3"])
def test_no_interim_response_to_others(field: str | None) -> None:
    """The draft, Draft Version Identification: MUST NOT when it is missing or mismatching."""
    said = resumable.speech_of({} if field is None else {"upload-draft-interop-version": field})
    assert said.announcement("/u", LIMITS) is None
    assert said.progress(5) is None


@pytest.mark.parametrize(
    ("version", "limits"),
    [(5, b"max-size=1000, max-age=60"), (6, b"max-size=1000, expires=60"), (8, b"max-size=1000, max-age=60")],
)
def test_interim_responses_name_the_version(version: int, limits: bytes) -> None:
    """Both do; the first one says where the upload is and what it may be, later ones how far it is."""
    first = dict(speech(version).announcement("/u", LIMITS) or ())
    number = str(version).encode()
    assert first == {b"upload-draft-interop-version": number, b"location": b"/u", b"upload-limit": limits}
    later = dict(speech(version).progress(5) or ())
    assert later == {b"upload-draft-interop-version": number, b"upload-offset": b"5"}


def test_limits_that_a_structured_integer_can_hold() -> None:
    """Whatever the operator has set; and no lifetime where there is none."""
    assert NEWEST.limits(Limits(max_size=2**63, lifetime_s=None)) == {"upload-limit": "max-size=999999999999999"}


@pytest.mark.parametrize(
    ("fields", "content_length", "expected"),
    [
        ({}, 7, Creation(None, 7)),
        ({}, None, Creation(None, None)),
        ({"upload-complete": "?1"}, 7, Creation(complete=True, length=7)),
        ({"upload-complete": "?1", "upload-length": "7"}, 7, Creation(complete=True, length=7)),
        ({"upload-complete": "?1", "upload-length": "7"}, None, Creation(complete=True, length=7)),
        ({"upload-complete": "?1"}, None, Creation(complete=True, length=None)),
        ({"upload-complete": "?0"}, 7, Creation(complete=False, length=None)),
        ({"upload-complete": "?0", "upload-length": "9"}, 7, Creation(complete=False, length=9)),
        ({"upload-complete": "?0", "upload-length": "-9"}, 7, Creation(complete=False, length=None)),
        ({"upload-complete": "yes"}, 7, Creation(None, 7)),
    ],
)
def test_a_creation(fields: dict[str, str], content_length: int | None, expected: Creation) -> None:
    """The length is said, or follows from content that reaches to the end; a field that is none is ignored."""
    assert resumable.parse_creation(fields, content_length=content_length) == expected


def test_two_lengths_are_refused() -> None:
    """At creation, and when something is added: there, the offset counts."""
    with pytest.raises(InconsistentUploadLength):
        resumable.parse_creation({"upload-complete": "?1", "upload-length": "8"}, content_length=7)
    fields = {**LABELLED, "upload-complete": "?1", "upload-offset": "3", "upload-length": "7"}
    with pytest.raises(InconsistentUploadLength):
        resumable.parse_append(fields, NEWEST, content_length=7)
    fields["upload-length"] = "10"
    assert resumable.parse_append(fields, NEWEST, content_length=7) == Append(3, complete=True, length=10)


@pytest.mark.parametrize("version", [5, 6, 8])
def test_an_append(version: int) -> None:
    """It says where, and whether that is the end."""
    fields = {**LABELLED, "upload-offset": "3"}
    parse = resumable.parse_append
    said = speech(version)
    assert parse({**fields, "upload-complete": "?0"}, said, content_length=7) == Append(3, complete=False, length=None)
    assert parse({**fields, "upload-complete": "?1"}, said, content_length=7) == Append(3, complete=True, length=10)
    assert parse({**fields, "upload-complete": "?1"}, said, content_length=None) == Append(
        3, complete=True, length=None
    )
    for offset in ("-1", "x", "1.5", "1, 1", ""):
        with pytest.raises(InvalidRequest):
            parse({**fields, "upload-offset": offset, "upload-complete": "?0"}, said, content_length=7)
    with pytest.raises(InvalidRequest):
        parse({**LABELLED, "upload-complete": "?0"}, said, content_length=7)


def test_an_append_that_does_not_say_whether_it_is_the_end() -> None:
    """Of old it was (draft -03 and -05, Upload Append); now it is refused."""
    fields = {**LABELLED, "upload-offset": "0"}
    for version in (5, 6):
        assert resumable.parse_append(fields, speech(version), content_length=7).complete
    with pytest.raises(InvalidRequest):
        resumable.parse_append(fields, speech(8), content_length=7)


@pytest.mark.parametrize("media_type", [None, "application/octet-stream", "application/partial-upload-not"])
def test_an_append_has_a_media_type(media_type: str | None) -> None:
    """Since draft -04; who names no version may speak an older one."""
    fields = {"upload-offset": "0", "upload-complete": "?0"}
    if media_type is not None:
        fields["content-type"] = media_type
    for lenient in (speech(5), speech(7)):
        assert resumable.parse_append(fields, lenient, content_length=7) == Append(0, complete=False, length=None)
    for version in (6, 8):
        with pytest.raises(UnsupportedMediaType):
            resumable.parse_append(fields, speech(version), content_length=7)


@pytest.mark.parametrize("field", ["upload-offset", "upload-complete", "upload-length"])
def test_a_query_with_fields_of_an_upload(field: str) -> None:
    """MUST be refused by -03 and -05; later drafts say nothing of it."""
    for version in (5, 6):
        with pytest.raises(InvalidRequest):
            resumable.parse_query({field: "0"}, speech(version))
    resumable.parse_query({field: "0"}, speech(8))


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "upload-complete",
                "upload-offset",
                "upload-length",
                "upload-draft-interop-version",
                "content-type",
            ]
        ),
        st.text(max_size=30)
        | st.integers().map(str)
        | st.sampled_from(["?0", "?1", "5", "6", "8", resumable.MEDIA_TYPE, "1;a", "(1 2)", ":AA==:"]),
    ),
    st.none() | st.integers(0, 2**62),
)
def test_any_fields_are_read_or_refused(fields: dict[str, str], content_length: int | None) -> None:
    """With a sentence for the client, whatever they hold."""
    said = resumable.speech_of(fields)
    with suppress(InvalidRequest):
        resumable.parse_creation(fields, content_length=content_length)
    with suppress(InvalidRequest):
        resumable.parse_query(fields, said)
    with suppress(InvalidRequest, UnsupportedMediaType):
        append = resumable.parse_append(fields, said, content_length=content_length)
        assert append.offset >= 0
