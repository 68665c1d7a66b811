"""The repository's contract, over SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from app.core.errors import ChunkConflict, DatabaseUnavailable, InternalError, InvalidRequest, NotFound, StateConflict
from app.core.upload import Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.persistence.repository import Repository
from app.testing.postgresql import PostgreSQLCluster, PostgreSQLMissing, private_cluster

TIB = 1024**4
LAST_CRC = 2**32 - 1
ENDED = [UploadState.COMPLETED, UploadState.FAILED, UploadState.CANCELLED, UploadState.EXPIRED]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQLCluster]:
    """A PostgreSQL server for this file."""
    try:
        with private_cluster() as running:
            yield running
    except PostgreSQLMissing as exc:
        pytest.skip(str(exc))


def an_upload(upload_id: str = "u1", **changes: object) -> Upload:
    """An upload just created."""
    plain = Upload(
        id=upload_id,
        owner="ann",
        filename="film.mkv",
        folder="",
        media_type="video/x-matroska",
        size=100,
        chunk_size=10,
        state=UploadState.CREATED,
        completion=Completion.AUTO,
        on_conflict=NameConflictPolicy.RENAME,
        destination="default",
        created_at=1_700_000_000.25,
        active_at_s=0.5,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


class RepositoryContract:
    """What every database must do."""

    @pytest.fixture
    async def repository(self, url: str) -> AsyncIterator[Repository]:
        """An open repository on an empty database."""
        repository = Repository(url, clock=lambda: 1000.5)
        await repository.open()
        yield repository
        await repository.close()

    # -- uploads -----------------------------------------------------------------------------------------------------
    async def test_an_upload_comes_back_as_it_was_added(self, repository: Repository) -> None:
        """Every field, at its extremes, survives the way there and back."""
        full = Upload(
            id="ÿ-full",
            owner="jürgen",
            filename="日本語 \u202e%s'\";--.bin",
            folder="a/b c",
            media_type="application/octet-stream",
            size=5 * TIB,
            chunk_size=2**40,
            state=UploadState.TRANSFERRING,
            completion=Completion.EXPLICIT,
            on_conflict=NameConflictPolicy.REPLACE,
            destination="archive",
            created_at=1_700_000_000.123456,
            active_at_s=1e9 / 3,
            declared_sha256="a" * 64,
            declared_crc32c=LAST_CRC,
            idempotency_key="key",
            request_fingerprint="print",
            transfer_state='{"uri": "secret"}',
            error_code="chunk-failed",
            error_detail="Chunk 3 failed after 3 attempts",
            received_at=1.5,
            ended_at=2.5,
            stored_id="id",
            stored_name="name (1)",
            sha256="b" * 64,
            crc32c=LAST_CRC - 1,
        )
        plain = an_upload()
        for upload in (replace(full, id="full"), plain):
            assert await repository.add_upload(upload) == upload
            assert await repository.upload(upload.id) == upload

    async def test_an_unknown_upload_is_none_whatever_its_id_looks_like(self, repository: Repository) -> None:
        """Also where the id is text that a database can't be asked for."""
        for upload_id in ("nope", "", "\0", "a\0b", "\ud800", "é", "%' OR 1=1"):
            assert await repository.upload(upload_id) is None

    async def test_a_used_idempotency_key_returns_the_first_upload(self, repository: Repository) -> None:
        """Many at once with one key: one row, and everybody gets it; another owner's key is another key."""
        same = [an_upload(f"u{n}", idempotency_key="k", request_fingerprint=f"f{n}") for n in range(20)]
        added = await asyncio.gather(*(repository.add_upload(upload) for upload in same))
        assert set(added) == {same[0]}
        other = an_upload("other", owner="bob", idempotency_key="k")
        assert await repository.add_upload(other) == other
        assert {upload.id for upload in await repository.uploads()} == {"u0", "other"}

    async def test_uploads_without_a_key_are_all_added(self, repository: Repository) -> None:
        """No key is not a key."""
        for upload in (an_upload("u1"), an_upload("u2")):
            assert await repository.add_upload(upload, durable=True) == upload

    async def test_an_id_used_twice_is_our_own_error(self, repository: Repository) -> None:
        """Ids are unguessable and ours; a second use is a fault of the program, and changes nothing."""
        await repository.add_upload(an_upload())
        with pytest.raises(InternalError):
            await repository.add_upload(an_upload(filename="other"))
        assert await repository.upload("u1") == an_upload()

    async def test_a_value_that_cannot_be_stored_is_the_clients_error(self, repository: Repository) -> None:
        """A lone surrogate or a number beyond 63 bits: refused, and the others in the batch go on."""
        bad = [an_upload("bad1", filename="\ud800"), an_upload("bad2", size=2**70)]
        good = [an_upload(f"good{n}") for n in range(10)]
        results = await asyncio.gather(
            *(repository.add_upload(upload) for upload in [*good[:5], *bad, *good[5:]]), return_exceptions=True
        )
        assert [type(result) for result in results[5:7]] == [InvalidRequest, InvalidRequest]
        assert results[:5] + results[7:] == good
        assert {upload.id for upload in await repository.uploads()} == {upload.id for upload in good}

    async def test_saving_replaces_the_whole_row(self, repository: Repository) -> None:
        """Every column but the id follows, and only of that upload."""
        await repository.add_upload(an_upload())
        await repository.add_upload(an_upload("u2"))
        changed = an_upload(
            owner="bob",
            size=7,
            state=UploadState.COMPLETED,
            sha256="c" * 64,
            ended_at=9.0,
            idempotency_key="k",
            crc32c=0,
        )
        await repository.save_upload(changed, durable=True)
        assert await repository.upload("u1") == changed
        assert await repository.upload("u2") == an_upload("u2")

    async def test_saving_a_deleted_upload_says_so(self, repository: Repository) -> None:
        """It does not come back."""
        with pytest.raises(NotFound):
            await repository.save_upload(an_upload())
        assert await repository.upload("u1") is None

    @pytest.mark.parametrize("state", ENDED)
    async def test_an_ended_upload_keeps_its_state(self, repository: Repository, state: UploadState) -> None:
        """Cancelled stays cancelled, whoever comes late; other fields may still change."""
        ended = an_upload(state=state, ended_at=5.0)
        await repository.add_upload(ended)
        for late in set(UploadState) - {state}:
            with pytest.raises(StateConflict):
                await repository.save_upload(replace(ended, state=late))
        with pytest.raises(StateConflict):
            await repository.record_extents("u1", [Extent(0, 1, 1)], active_at_s=9.0, state=UploadState.RECEIVING)
        assert await repository.upload("u1") == ended
        assert await repository.extents("u1") == []
        await repository.save_upload(replace(ended, error_detail="known now"))
        assert await repository.upload("u1") == replace(ended, error_detail="known now")

    async def test_pages_show_every_upload_once_newest_first(self, repository: Repository) -> None:
        """Times that are equal are told apart by id; filters hold on every page."""
        everyone = [
            an_upload(
                f"u{n}", owner="ann" if n % 2 else "bob", created_at=float(n // 3), state=list(UploadState)[n % 7]
            )
            for n in range(30)
        ]
        await asyncio.gather(*(repository.add_upload(upload) for upload in everyone))
        newest = sorted(everyone, key=lambda upload: (upload.created_at, upload.id), reverse=True)
        states = [UploadState.CREATED, UploadState.FAILED]
        for owner, only in ((None, None), ("ann", None), (None, states), ("bob", states), (None, [])):
            expected = [
                upload
                for upload in newest
                if (owner is None or upload.owner == owner) and (only is None or upload.state in only)
            ]
            seen: list[Upload] = []
            before = None
            while page := await repository.uploads(owner=owner, states=only, limit=4, before=before):
                assert len(page) <= 4
                seen += page
                before = (page[-1].created_at, page[-1].id)
            assert seen == expected

    async def test_recovery_and_metrics_see_their_uploads(self, repository: Repository) -> None:
        """Active: not ended, newest first. Counts: every state, zero too."""
        assert await repository.counts() == dict.fromkeys(UploadState, 0)
        for number, state in enumerate([*UploadState, UploadState.COMPLETED]):
            await repository.add_upload(an_upload(f"u{number}", state=state, created_at=float(number)))
        assert [upload.id for upload in await repository.active_uploads()] == ["u2", "u1", "u0"]
        assert await repository.counts() == dict.fromkeys(UploadState, 1) | {UploadState.COMPLETED: 2}

    async def test_cleaning_sees_what_ended_long_ago_by_the_service_clock(self, repository: Repository) -> None:
        """Ended, and last active strictly before; oldest first, so many at most; the wall clock has no say."""
        for number in range(6):
            ended = None if number == 2 else 1e12 - number
            await repository.add_upload(an_upload(f"u{number}", active_at_s=float(number), ended_at=ended))
        assert await repository.ended_before(4.0, 10) == ["u0", "u1", "u3"]
        assert await repository.ended_before(100.0, 2) == ["u0", "u1"]

    async def test_an_upload_is_added_together_with_what_of_it_is_staged(self, repository: Repository) -> None:
        """Row and extents in one step, or neither; nothing is recorded for the one that was there before."""
        staged = [Extent(0, 10, 1), Extent(10, 10, 2)]
        first = an_upload("u1", idempotency_key="k")
        assert await repository.add_upload(first, extents=staged, durable=True) == first
        assert await repository.add_upload(an_upload("u2", idempotency_key="k"), extents=staged) == first
        with pytest.raises(ChunkConflict):
            await repository.add_upload(an_upload("u3"), extents=[Extent(0, 10, 1), Extent(9, 1, 1)])
        assert await repository.extents("u1") == staged
        assert await repository.extents("u2") == []
        assert await repository.upload("u3") is None

    async def test_deleting_an_upload_deletes_its_extents(self, repository: Repository) -> None:
        """And those of no other; twice is once."""
        for upload_id in ("u1", "u2"):
            await repository.add_upload(an_upload(upload_id))
            await repository.record_extents(upload_id, [Extent(0, 5, 1)], active_at_s=1.0)
        await repository.delete_upload("u1")
        await repository.delete_upload("u1")
        assert await repository.upload("u1") is None
        assert await repository.extents("u1") == []
        assert await repository.extents("u2") == [Extent(0, 5, 1)]

    # -- extents -----------------------------------------------------------------------------------------------------
    async def test_extents_come_back_in_order_of_offset(self, repository: Repository) -> None:
        """In whatever order they came, at the end of the largest file too."""
        await repository.add_upload(an_upload(size=5 * TIB))
        given = [Extent(5 * TIB - 1, 1, LAST_CRC), Extent(0, 10, 0), Extent(TIB, TIB, 7), Extent(10, 5, 3)]
        for extent in given:
            await repository.record_extents("u1", [extent], active_at_s=1.0)
        assert await repository.extents("u1") == sorted(given)
        assert await repository.extents("unknown") == []

    async def test_recording_moves_the_upload_in_the_same_step(self, repository: Repository) -> None:
        """Active now, and `created` becomes what was asked; any other state stays."""
        await repository.add_upload(an_upload())
        await repository.record_extents("u1", [Extent(0, 1, 1)], active_at_s=7.5)
        assert await repository.upload("u1") == an_upload(active_at_s=7.5)
        await repository.record_extents("u1", [Extent(1, 1, 1)], active_at_s=8.5, state=UploadState.RECEIVING)
        receiving = an_upload(active_at_s=8.5, state=UploadState.RECEIVING)
        assert await repository.upload("u1") == receiving
        await repository.save_upload(receiving.become(UploadState.TRANSFERRING))
        await repository.record_extents(
            "u1", [Extent(2, 1, 1)], active_at_s=9.5, state=UploadState.RECEIVING, durable=True
        )
        assert await repository.upload("u1") == an_upload(active_at_s=9.5, state=UploadState.TRANSFERRING)

    async def test_recording_for_a_deleted_upload_says_so(self, repository: Repository) -> None:
        """Nothing is left behind."""
        with pytest.raises(NotFound):
            await repository.record_extents("gone", [Extent(0, 1, 1)], active_at_s=1.0)
        assert await repository.extents("gone") == []

    async def test_recording_the_same_again_changes_nothing(self, repository: Repository) -> None:
        """A write of unknown outcome can be repeated, also together with what is new."""
        await repository.add_upload(an_upload())
        first, second = Extent(0, 10, 5), Extent(10, 10, 6)
        await repository.record_extents("u1", [first], active_at_s=1.0)
        await repository.record_extents("u1", [first, second], active_at_s=2.0)
        assert await repository.extents("u1") == [first, second]

    @pytest.mark.parametrize(
        "wrong",
        [
            Extent(10, 10, 6),
            Extent(10, 9, 5),
            Extent(10, 11, 5),
            Extent(9, 2, 5),
            Extent(19, 5, 5),
            Extent(12, 3, 5),
            Extent(0, 100, 5),
            Extent(10, 20, 5),
            Extent(45, 1, 5),
        ],
    )
    async def test_other_bytes_over_recorded_ones_are_refused(self, repository: Repository, wrong: Extent) -> None:
        """Same place with another checksum, or any overlap: all of the call is refused, neighbours are not."""
        await repository.add_upload(an_upload())
        recorded = [Extent(10, 10, 5), Extent(40, 10, 5)]
        await repository.record_extents("u1", recorded, active_at_s=1.0)
        outcome = await asyncio.gather(
            repository.record_extents("u1", [Extent(30, 5, 1)], active_at_s=1.0),
            repository.record_extents("u1", [Extent(35, 5, 1), wrong], active_at_s=99.0),
            repository.record_extents("u1", [Extent(50, 1, 1)], active_at_s=2.0),
            return_exceptions=True,
        )
        assert [type(result) for result in outcome] == [type(None), ChunkConflict, type(None)]
        assert await repository.extents("u1") == sorted([*recorded, Extent(30, 5, 1), Extent(50, 1, 1)])
        assert await repository.upload("u1") == an_upload(active_at_s=2.0)

    async def test_forgetting_takes_these_very_extents_or_all(self, repository: Repository) -> None:
        """An extent that is not as recorded is not forgotten; what is forgotten can be recorded anew."""
        await repository.add_upload(an_upload())
        recorded = [Extent(0, 10, 1), Extent(10, 10, 2), Extent(20, 10, 3)]
        await repository.record_extents("u1", recorded, active_at_s=1.0)
        await repository.forget_extents("u1", [recorded[1], Extent(0, 10, 9), Extent(20, 9, 3)])
        await repository.forget_extents("u1", [])
        assert await repository.extents("u1") == [recorded[0], recorded[2]]
        await repository.record_extents("u1", [Extent(10, 10, 9)], active_at_s=1.0)
        await repository.forget_extents("u1")
        assert await repository.extents("u1") == []

    # -- tokens and values -------------------------------------------------------------------------------------------
    async def test_tokens_are_found_by_hash_and_listed_by_user(self, repository: Repository) -> None:
        """The record has all but the hash."""
        assert not await repository.any_token()
        ann = await repository.add_token("ann", "h1", label="laptop", operator=False, expires_at=None)
        bob = await repository.add_token("bob", "h2", label="", operator=True, expires_at=2000.5)
        assert (ann.user, ann.label, ann.operator, ann.created_at, ann.expires_at) == (
            "ann",
            "laptop",
            False,
            1000.5,
            None,
        )
        assert await repository.token_by_hash("h1") == ann
        assert await repository.token_by_hash("h2") == bob
        assert await repository.token_by_hash("h3") is None
        assert await repository.tokens("ann") == [ann]
        assert {token.id for token in await repository.tokens()} == {ann.id, bob.id}
        assert await repository.any_token()
        assert "h1" not in repr(await repository.tokens())

    async def test_a_token_is_revoked_once(self, repository: Repository) -> None:
        """It stays on record, and still counts as a token: revoking the last one opens no door."""
        token = await repository.add_token("ann", "h1", label="", operator=False, expires_at=None)
        assert await repository.revoke_token(token.id)
        assert not await repository.revoke_token(token.id)
        assert not await repository.revoke_token("unknown")
        assert await repository.token_by_hash("h1") == replace(token, revoked_at=1000.5)
        assert await repository.any_token()

    async def test_a_secret_is_given_out_once(self, repository: Repository) -> None:
        """Two tokens with one hash would be one key for two doors."""
        await repository.add_token("ann", "h1", label="", operator=False, expires_at=None)
        with pytest.raises(InternalError):
            await repository.add_token("bob", "h1", label="", operator=False, expires_at=None)

    async def test_a_value_is_what_was_set_last(self, repository: Repository) -> None:
        """Unknown: none."""
        assert await repository.get_meta("boot") is None
        await repository.set_meta("boot", "one")
        await repository.set_meta("boot", "two", durable=True)
        assert await repository.get_meta("boot") == "two"

    # -- life --------------------------------------------------------------------------------------------------------
    async def test_closing_finishes_what_was_queued(self, repository: Repository, url: str) -> None:
        """Nothing that was taken is dropped; what comes later is refused; opening again finds all."""
        pending = [asyncio.ensure_future(repository.add_upload(an_upload(f"u{n}"))) for n in range(300)]
        await asyncio.sleep(0)  # each has queued its work
        await repository.close()
        await repository.close()
        assert len(await asyncio.gather(*pending)) == 300
        for call in (repository.add_upload(an_upload("late")), repository.upload("u1"), repository.check()):
            with pytest.raises(DatabaseUnavailable):
                await call
        await repository.open()
        await repository.check()
        assert len(await repository.uploads(limit=1000)) == 300

    async def test_a_cancelled_caller_disturbs_nobody(self, repository: Repository) -> None:
        """Its work is done, the others are answered, and closing does not hang."""
        tasks = [asyncio.ensure_future(repository.add_upload(an_upload(f"u{n}"))) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
        assert results[1::2] == [an_upload(f"u{n}") for n in range(1, 20, 2)]
        assert len(await repository.uploads()) == 20

    async def test_the_event_loop_goes_on_while_the_database_works(self, repository: Repository) -> None:
        """Other coroutines run while an operation is awaited."""
        turns = 0
        task = asyncio.ensure_future(repository.add_upload(an_upload(), durable=True))
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 1


class TestSQLite(RepositoryContract):
    """SQLite, in a file."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """An empty place."""
        return f"sqlite:///{tmp_path}/a b%20#.sqlite3"


class TestPostgreSQL(RepositoryContract):
    """PostgreSQL, a real server."""

    @pytest.fixture
    def url(self, cluster: PostgreSQLCluster) -> str:
        """An empty schema."""
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("SET client_min_messages = error")
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return cluster.url
