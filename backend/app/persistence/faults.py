"""What SQLAlchemy and the drivers raise, said in our own errors.

`IntegrityError` and `DataError` are about one piece of work; every other `DBAPIError` is about the database (locked,
full, read-only, gone, damaged) and so about everything that is being done in the same transaction.
"""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from app.core.errors import DatabaseUnavailable, ForebayError, InternalError, InvalidRequest

__all__ = ["cause_of", "concerns_database", "translated"]


def concerns_database(exc: BaseException) -> bool:
    """Whether the database as a whole failed, and not just what was asked of it."""
    return isinstance(exc, DBAPIError) and not isinstance(exc, IntegrityError | DataError)


def cause_of(exc: BaseException) -> str:
    """The driver's own words on one line; without the statement."""
    orig = exc.orig if isinstance(exc, DBAPIError) else exc
    return " ".join(str(orig).split()).rstrip(".") or type(orig).__name__


def translated(exc: Exception) -> ForebayError:
    """The error that leaves this room: `exc` itself when it is ours, else a new one with `exc` as its cause."""
    if isinstance(exc, ForebayError):
        return exc
    error: ForebayError
    if concerns_database(exc):
        error = DatabaseUnavailable()
    elif isinstance(exc, DataError | UnicodeEncodeError | OverflowError):
        error = InvalidRequest(
            "This request holds a value that can't be stored: NUL, a lone surrogate, or a number of more than 63 bits."
        )
    else:
        error = InternalError()
    error.__cause__ = exc
    return error
