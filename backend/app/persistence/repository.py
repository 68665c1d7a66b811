"""What outlives the process: uploads, their recorded extents, tokens, and single values.

Laws: every method is one transaction; `durable=True` survives a power cut when it returns, everything else survives
the death of the process. Whoever was cancelled, or was told `DatabaseUnavailable`, while a write was under way does not
know whether it was committed; each write may be repeated with the same values to the same end.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Row

from app.core.errors import ChunkConflict, NotFound, StateConflict
from app.core.identity import TokenRecord
from app.core.upload import TERMINAL_STATES, Completion, Extent, NameConflictPolicy, Upload, UploadState
from app.persistence import statements as sql
from app.persistence.database import Database
from app.persistence.tables import uploads as uploads_table
from app.persistence.writer import CommitObserver

__all__ = ["Repository"]

_UPLOAD_COLUMNS = tuple(column.name for column in uploads_table.columns)
_upload_values = attrgetter(*_UPLOAD_COLUMNS)
_ENUM_COLUMNS = ("state", "completion", "on_conflict")
_UNDER_WAY = tuple(state.value for state in UploadState if state not in TERMINAL_STATES)


class Repository:
    """The database of one server. Used on the event loop that opened it."""

    def __init__(
        self,
        url: str,
        *,
        busy_timeout_s: float = 5.0,
        clock: Callable[[], float] = time.time,
        on_commit: CommitObserver = lambda _seconds, _writes: None,
    ) -> None:
        """Name the database; `open` uses it.

        Args:
            url: `sqlite:///path` or `postgresql://user:password@host/name`.
            busy_timeout_s: longest wait for a lock that another process holds.
            clock: UTC seconds since the epoch, for tokens.
            on_commit: told in another thread of each group of writes: seconds, and how many.

        Raises:
            SettingsError: it is no URL of a database that we can use.
        """
        self._database = Database(url, busy_timeout_s=busy_timeout_s, on_commit=on_commit)
        self._clock = clock

    async def open(self) -> None:
        """Create or upgrade the database, or accept one that is newer; idempotent.

        Raises:
            DatabaseUnavailable: it can't be used; the message says which it is, and why.
        """
        await self._database.open()

    async def close(self) -> None:
        """Finish what is queued, then close; idempotent."""
        await self._database.close()

    async def check(self) -> None:
        """Return when the database takes write transactions (for readiness); raise DatabaseUnavailable otherwise."""
        await self._database.check()

    # -- uploads -----------------------------------------------------------------------------------------------------
    async def add_upload(self, upload: Upload, *, extents: Sequence[Extent] = (), durable: bool = False) -> Upload:
        """Add an upload in whatever state, and return it; with an idempotency key that its owner has used, the other.

        The caller compares the request fingerprints. What it has stored is no earlier upload's any more (`save_upload`).

        Args:
            upload: the new one.
            extents: what of it is staged already; not looked at when the other is returned.
            durable: survives a power cut (the bytes must have been synced before).
        """
        statement = sql.ADD_UPLOAD[self._database.dialect]
        values = _values(upload)

        def work(connection: Connection) -> Upload:
            if connection.execute(statement, values).rowcount == 1:
                for extent in extents:
                    _record(connection, upload.id, extent)
                _disown_others(connection, upload)
                return upload
            key = {"of_owner": upload.owner, "key": upload.idempotency_key}
            return _upload(connection.execute(sql.UPLOAD_BY_KEY, key).one())

        return await self._database.write(work, durable=durable)

    async def save_upload(self, upload: Upload, *, durable: bool = False) -> None:
        """Store all of `upload`.

        What it has stored at its destination is no earlier upload's any more: a file that was replaced, or removed and
        its name used again, is not to be served to whoever stored the former one.

        Raises:
            NotFound: it was deleted.
            StateConflict: it has ended in another state; nothing is changed.
        """
        values = _values(upload)
        del values["id"]
        values["upload_id"] = upload.id
        values["next_state"] = values["state"]

        def work(connection: Connection) -> None:
            if connection.execute(sql.SAVE_UPLOAD, values).rowcount != 1:
                _refuse(connection, upload.id)
            _disown_others(connection, upload)

        await self._database.write(work, durable=durable)

    async def upload(self, upload_id: str) -> Upload | None:
        """The upload of that id."""
        if not _may_be_an_id(upload_id):
            return None

        def work(connection: Connection) -> Upload | None:
            row = connection.execute(sql.UPLOAD, {"upload_id": upload_id}).one_or_none()
            return None if row is None else _upload(row)

        return await self._database.read(work)

    async def upload_by_key(self, owner: str, key: str) -> Upload | None:
        """The upload that the owner began under that idempotency key."""

        def work(connection: Connection) -> Upload | None:
            row = connection.execute(sql.UPLOAD_BY_KEY, {"of_owner": owner, "key": key}).one_or_none()
            return None if row is None else _upload(row)

        return await self._database.read(work)

    async def uploads(
        self,
        *,
        owner: str | None = None,
        states: Collection[UploadState] | None = None,
        limit: int = 100,
        before: tuple[float, str] | None = None,
    ) -> list[Upload]:
        """Uploads, newest first.

        Args:
            owner: of this user only.
            states: in these states only.
            limit: how many at most.
            before: `(created_at, id)` of the last one of the page before.
        """
        values: dict[str, object] = {"most": limit}
        if owner is not None:
            values["of_owner"] = owner
        if states is not None:
            values["in_states"] = [state.value for state in states]
        if before is not None:
            values["created_before"], values["id_before"] = before
        return await self._page(values)

    async def unremoved_uploads(self) -> list[Upload]:
        """Uploads that have ended and have left something at their destination that is to be removed."""

        def work(connection: Connection) -> list[Upload]:
            return [_upload(row) for row in connection.execute(sql.UNREMOVED)]

        return await self._database.read(work)

    async def active_uploads(self) -> list[Upload]:
        """All that have not ended, newest first; for recovery."""
        return await self._page({"in_states": _UNDER_WAY})

    async def ended_before(self, at: float, limit: int) -> list[str]:
        """Ids of uploads that have ended and were last active before `at` of the service clock, oldest first."""

        def work(connection: Connection) -> list[str]:
            return list(connection.execute(sql.ENDED_BEFORE, {"at": at, "most": limit}).scalars())

        return await self._database.read(work)

    async def counts(self) -> dict[UploadState, int]:
        """How many uploads there are in each state."""

        def work(connection: Connection) -> dict[UploadState, int]:
            found = {state: int(count) for state, count in connection.execute(sql.COUNTS)}
            return {state: found.get(state.value, 0) for state in UploadState}

        return await self._database.read(work)

    async def delete_upload(self, upload_id: str) -> None:
        """Forget an upload and its extents; idempotent."""

        def work(connection: Connection) -> None:
            connection.execute(sql.DELETE_UPLOAD, {"upload_id": upload_id})

        await self._database.write(work)

    async def _page(self, values: dict[str, object]) -> list[Upload]:
        statement = sql.page_of_uploads(
            owner="of_owner" in values,
            states="in_states" in values,
            before="id_before" in values,
            limit="most" in values,
        )

        def work(connection: Connection) -> list[Upload]:
            return [_upload(row) for row in connection.execute(statement, values)]

        return await self._database.read(work)

    # -- extents -----------------------------------------------------------------------------------------------------
    async def record_extents(
        self,
        upload_id: str,
        extents: Sequence[Extent],
        *,
        active_at_s: float,
        state: UploadState | None = None,
        durable: bool = False,
    ) -> None:
        """Record bytes as received, and the upload as active; all or nothing.

        The same extents again change nothing, so that a write of unknown outcome can be repeated. After such a write
        the recorded extents have to be asked for before those bytes are written again.

        Args:
            upload_id: whose.
            extents: neither overlapping each other nor what is recorded.
            active_at_s: the service clock.
            state: what an upload that is still `created` becomes.
            durable: survives a power cut (the bytes must have been synced before).

        Raises:
            NotFound: the upload was deleted.
            StateConflict: the upload has ended.
            ChunkConflict: other bytes are recorded there.
        """
        touched = {
            "upload_id": upload_id,
            "now_s": active_at_s,
            "from_created": (state or UploadState.CREATED).value,
        }

        def work(connection: Connection) -> None:
            if connection.execute(sql.TOUCH_UPLOAD, touched).rowcount != 1:
                _refuse(connection, upload_id)
            for extent in extents:
                _record(connection, upload_id, extent)

        await self._database.write(work, durable=durable)

    async def forget_extents(self, upload_id: str, extents: Sequence[Extent] | None = None) -> None:
        """Forget these very extents, or all; idempotent."""
        rows = [
            {"upload_id": upload_id, "start": extent.offset, "size": extent.length, "crc": extent.crc32c}
            for extent in extents or ()
        ]

        def work(connection: Connection) -> None:
            if extents is None:
                connection.execute(sql.DELETE_EXTENTS, {"upload_id": upload_id})
            elif rows:
                connection.execute(sql.DELETE_EXTENT, rows)

        await self._database.write(work)

    async def extents(self, upload_id: str) -> list[Extent]:
        """What is recorded, by offset."""

        def work(connection: Connection) -> list[Extent]:
            return [Extent(*row) for row in connection.execute(sql.EXTENTS, {"upload_id": upload_id})]

        return await self._database.read(work)

    # -- tokens ------------------------------------------------------------------------------------------------------
    async def add_token(
        self, user: str, secret_hash: str, *, label: str, operator: bool, expires_at: float | None
    ) -> TokenRecord:
        """Add a token; durable.

        Args:
            user: whose it is.
            secret_hash: hash of the secret, which is stored nowhere.
            label: for people.
            operator: whether it opens the operators' calls.
            expires_at: UTC seconds since the epoch, or never.
        """
        token = TokenRecord(
            id=secrets.token_hex(6),
            user=user,
            label=label,
            operator=operator,
            created_at=self._clock(),
            expires_at=expires_at,
            revoked_at=None,
        )
        values = {
            "id": token.id,
            "user_name": user,
            "secret_hash": secret_hash,
            "label": label,
            "operator": operator,
            "created_at": token.created_at,
            "expires_at": expires_at,
        }

        def work(connection: Connection) -> None:
            connection.execute(sql.ADD_TOKEN, values)

        await self._database.write(work, durable=True)
        return token

    async def token_by_hash(self, secret_hash: str) -> TokenRecord | None:
        """The token of that hash, revoked and expired ones too."""

        def work(connection: Connection) -> TokenRecord | None:
            row = connection.execute(sql.TOKEN_BY_HASH, {"hash": secret_hash}).one_or_none()
            return None if row is None else TokenRecord(*row)

        return await self._database.read(work)

    async def tokens(self, user: str | None = None) -> list[TokenRecord]:
        """All tokens of a user, or all, oldest first."""
        statement = sql.TOKENS if user is None else sql.TOKENS_OF_USER

        def work(connection: Connection) -> list[TokenRecord]:
            return [TokenRecord(*row) for row in connection.execute(statement, {"of_user": user})]

        return await self._database.read(work)

    async def revoke_token(self, token_id: str) -> bool:
        """Make a token worthless; durable. Whether there was one that was not revoked yet."""
        values = {"token_id": token_id, "now": self._clock()}

        def work(connection: Connection) -> bool:
            return connection.execute(sql.REVOKE_TOKEN, values).rowcount == 1

        return await self._database.write(work, durable=True)

    async def any_token(self) -> bool:
        """Whether a token was ever made, revoked and expired ones included: revoking the last one opens no door."""

        def work(connection: Connection) -> bool:
            return connection.execute(sql.ANY_TOKEN).first() is not None

        return await self._database.read(work)

    # -- meta --------------------------------------------------------------------------------------------------------
    async def get_meta(self, key: str) -> str | None:
        """The value of that key."""

        def work(connection: Connection) -> str | None:
            value: str | None = connection.execute(sql.GET_META, {"of_key": key}).scalar()
            return value

        return await self._database.read(work)

    async def set_meta(self, key: str, value: str, *, durable: bool = False) -> None:
        """Set or replace a value."""
        statement = sql.SET_META[self._database.dialect]

        def work(connection: Connection) -> None:
            connection.execute(statement, {"key": key, "value": value})

        await self._database.write(work, durable=durable)


def _may_be_an_id(text: str) -> bool:
    """Ids are ours and plain; what a client puts in their place may be no text that PostgreSQL can be asked for."""
    return text.isascii() and "\0" not in text


def _values(upload: Upload) -> dict[str, Any]:
    values = dict(zip(_UPLOAD_COLUMNS, _upload_values(upload), strict=True))
    for name in _ENUM_COLUMNS:
        values[name] = values[name].value
    return values


def _upload(row: Row[Any]) -> Upload:
    values = dict(zip(_UPLOAD_COLUMNS, row, strict=True))
    values["state"] = UploadState(values["state"])
    values["completion"] = Completion(values["completion"])
    values["on_conflict"] = NameConflictPolicy(values["on_conflict"])
    return Upload(**values)


def _refuse(connection: Connection, upload_id: str) -> None:
    state = connection.execute(sql.UPLOAD_STATE, {"upload_id": upload_id}).scalar()
    if state is None:
        raise NotFound
    raise StateConflict(f"The upload is {state}; nothing more can happen to it.", state=state)


def _disown_others(connection: Connection, upload: Upload) -> None:
    if upload.stored_id is not None:
        values = {"of_stored_id": upload.stored_id, "of_destination": upload.destination, "upload_id": upload.id}
        connection.execute(sql.DISOWN_OTHERS, values)


def _record(connection: Connection, upload_id: str, extent: Extent) -> None:
    values = {"upload_id": upload_id, "start": extent.offset, "end": extent.end}
    if connection.execute(sql.ADD_EXTENT, {**values, "crc": extent.crc32c}).rowcount == 1:
        return
    if [tuple(row) for row in connection.execute(sql.OVERLAPPING, values)] != [tuple(extent)]:
        raise ChunkConflict
