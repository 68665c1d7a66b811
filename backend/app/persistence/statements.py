"""The statements, built once; SQLAlchemy compiles each once per engine and finds it again by identity.

Laws: every insert names its columns (a newer schema may have more, see `tables`); an upload that has ended never gets
another state. An insert whose row count is looked at says so (`preserve_rowcount`): without it SQLAlchemy keeps the
count of updates and deletes only.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Insert,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.core.upload import TERMINAL_STATES, UploadState
from app.persistence.tables import extents, meta, tokens, uploads

__all__ = [
    "ADD_EXTENT",
    "ADD_TOKEN",
    "ADD_UPLOAD",
    "ANY_TOKEN",
    "COUNTS",
    "DELETE_EXTENT",
    "DELETE_EXTENTS",
    "DELETE_UPLOAD",
    "DISOWN_OTHERS",
    "ENDED_BEFORE",
    "EXTENTS",
    "GET_META",
    "OVERLAPPING",
    "PING",
    "REVOKE_TOKEN",
    "SAVE_UPLOAD",
    "SET_META",
    "TOKENS",
    "TOKENS_OF_USER",
    "TOKEN_BY_HASH",
    "TOUCH_UPLOAD",
    "UNREMOVED",
    "UPLOAD",
    "UPLOAD_BY_KEY",
    "UPLOAD_STATE",
    "page_of_uploads",
]

_not_ended = and_(*(uploads.c.state != literal_column(f"'{state.value}'") for state in sorted(TERMINAL_STATES)))


def _add_upload(dialect: Any) -> Insert:  # noqa: ANN401 - two modules with the same function
    statement: Insert = dialect.insert(uploads).on_conflict_do_nothing(index_elements=["owner", "idempotency_key"])
    return statement.execution_options(preserve_rowcount=True)


def _set_meta(dialect: Any) -> Insert:  # noqa: ANN401
    adding = dialect.insert(meta)
    statement: Insert = adding.on_conflict_do_update(index_elements=["key"], set_={"value": adding.excluded.value})
    return statement


PING: Select[Any] = select(literal_column("1"))

# -- uploads ---------------------------------------------------------------------------------------------------------
ADD_UPLOAD = {"sqlite": _add_upload(sqlite), "postgresql": _add_upload(postgresql)}
"""By dialect; no row when the owner's idempotency key is there already."""

UPLOAD = select(uploads).where(uploads.c.id == bindparam("upload_id"))
UPLOAD_BY_KEY = select(uploads).where(
    uploads.c.owner == bindparam("of_owner"), uploads.c.idempotency_key == bindparam("key")
)
UNREMOVED = select(uploads).where(
    uploads.c.state.in_(tuple(state.value for state in sorted(TERMINAL_STATES))), uploads.c.transfer_state.is_not(None)
)
UPLOAD_STATE = select(uploads.c.state).where(uploads.c.id == bindparam("upload_id"))

SAVE_UPLOAD: Update = (
    update(uploads)
    .where(
        uploads.c.id == bindparam("upload_id"),
        or_(_not_ended, uploads.c.state == bindparam("next_state", type_=Text)),
    )
    .values({column: bindparam(column.name) for column in uploads.c if column.name != "id"})
)
DISOWN_OTHERS: Update = (
    update(uploads)
    .where(
        uploads.c.stored_id == bindparam("of_stored_id"),
        uploads.c.destination == bindparam("of_destination"),
        uploads.c.id != bindparam("upload_id"),
    )
    .values(stored_id=None)
)
TOUCH_UPLOAD: Update = (
    update(uploads)
    .where(uploads.c.id == bindparam("upload_id"), _not_ended)
    .values(
        active_at_s=bindparam("now_s"),
        state=case(
            (
                uploads.c.state == literal_column(f"'{UploadState.CREATED.value}'"),
                bindparam("from_created", type_=Text),
            ),
            else_=uploads.c.state,
        ),
    )
)
DELETE_UPLOAD = delete(uploads).where(uploads.c.id == bindparam("upload_id"))
ENDED_BEFORE = (
    select(uploads.c.id)
    .where(
        uploads.c.ended_at.is_not(None),
        uploads.c.active_at_s < bindparam("at"),
        uploads.c.transfer_state.is_(None),  # what it has left at its destination is to be removed yet
    )
    .order_by(uploads.c.active_at_s, uploads.c.id)
    .limit(bindparam("most", type_=BigInteger))
)
COUNTS = select(uploads.c.state, func.count()).group_by(uploads.c.state)
_newest_first = select(uploads).order_by(uploads.c.created_at.desc(), uploads.c.id.desc())


def page_of_uploads(*, owner: bool, states: bool, before: bool, limit: bool) -> Select[Any]:
    """Newest first; parameters `of_owner`, `in_states`, `created_before` and `id_before`, `most` as asked for."""
    statement: Select[Any] = _newest_first
    if owner:
        statement = statement.where(uploads.c.owner == bindparam("of_owner"))
    if states:
        statement = statement.where(uploads.c.state.in_(bindparam("in_states", expanding=True)))
    if before:
        cursor = tuple_(
            bindparam("created_before", type_=uploads.c.created_at.type), bindparam("id_before", type_=Text)
        )
        statement = statement.where(tuple_(uploads.c.created_at, uploads.c.id) < cursor)
    if limit:
        statement = statement.limit(bindparam("most", type_=BigInteger))
    return statement


# -- extents ---------------------------------------------------------------------------------------------------------
_start = bindparam("start", type_=BigInteger)
_end = bindparam("end", type_=BigInteger)
_upload = bindparam("upload_id", type_=Text)
_end_of_the_one_before = (
    select(extents.c.offset + extents.c.length)
    .where(extents.c.upload_id == _upload, extents.c.offset < _end)
    .order_by(extents.c.offset.desc())
    .limit(1)
    .scalar_subquery()
)
ADD_EXTENT: Insert = (
    insert(extents)
    .from_select(
        ["upload_id", "offset", "length", "crc32c"],
        select(_upload, _start, _end - _start, bindparam("crc", type_=BigInteger)).where(
            _start >= func.coalesce(_end_of_the_one_before, 0)
        ),
    )
    .execution_options(preserve_rowcount=True)
)
"""Parameters `upload_id`, `start`, `end`, `crc`; no row when recorded bytes lie in `[start, end)`. One index look-up."""

OVERLAPPING: Select[Any] = select(extents.c.offset, extents.c.length, extents.c.crc32c).where(
    extents.c.upload_id == _upload, extents.c.offset < _end, extents.c.offset + extents.c.length > _start
)
EXTENTS = (
    select(extents.c.offset, extents.c.length, extents.c.crc32c)
    .where(extents.c.upload_id == _upload)
    .order_by(extents.c.offset)
)
DELETE_EXTENTS = delete(extents).where(extents.c.upload_id == _upload)
DELETE_EXTENT = DELETE_EXTENTS.where(
    extents.c.offset == bindparam("start"), extents.c.length == bindparam("size"), extents.c.crc32c == bindparam("crc")
)

# -- tokens ----------------------------------------------------------------------------------------------------------
_token = select(
    tokens.c.id,
    tokens.c.user_name,
    tokens.c.label,
    tokens.c.operator,
    tokens.c.created_at,
    tokens.c.expires_at,
    tokens.c.revoked_at,
)
ADD_TOKEN = insert(tokens)
TOKEN_BY_HASH = _token.where(tokens.c.secret_hash == bindparam("hash"))
TOKENS = _token.order_by(tokens.c.created_at, tokens.c.id)
TOKENS_OF_USER = TOKENS.where(tokens.c.user_name == bindparam("of_user"))
ANY_TOKEN = select(tokens.c.id).limit(literal_column("1"))
REVOKE_TOKEN: Update = (
    update(tokens)
    .where(tokens.c.id == bindparam("token_id"), tokens.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)

# -- meta ------------------------------------------------------------------------------------------------------------
GET_META = select(meta.c.value).where(meta.c.key == bindparam("of_key"))
SET_META = {"sqlite": _set_meta(sqlite), "postgresql": _set_meta(postgresql)}
"""By dialect; insert or replace."""
