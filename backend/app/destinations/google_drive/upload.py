"""A resumable upload session at Drive: its start, its PUTs, the question where it stands, its end.

Laws:
- Where a session stands is what Drive says, never what was sent. 308 with `Range` is how far (without it: nothing), 200
  and 201 are a finished file, 404 and 410 (and 499, cancelled) are a session that is no more; another 4xx whose reason
  is not known is for the caller to judge.
- A PUT has one body, in order; nobody sends two at once. Whoever gets no answer asks before sending again.
- The session's URI is the permission to write: it goes into no message and no representation.

https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from yarl import URL

from app.core.errors import DestinationRefusedUpload, DestinationUnavailable
from app.destinations.google_drive.api import Answer, DriveApi
from app.destinations.google_drive.body import PieceBody
from app.destinations.google_drive.faults import Refusal, says_why
from app.destinations.google_drive.files import FIELDS, RemoteFile

__all__ = ["Done", "Gone", "Held", "IdTaken", "Outcome", "Refused", "ResumableUpload", "StartRefused", "start"]

_HELD: Final = re.compile(r"bytes=0-(\d{1,19})")
_CLIENT_CLOSED: Final = 499
_NO_MORE: Final = frozenset({HTTPStatus.NOT_FOUND.value, HTTPStatus.GONE.value, _CLIENT_CLOSED})
_NOT_THAT: Final = frozenset(
    {HTTPStatus.BAD_REQUEST.value, HTTPStatus.METHOD_NOT_ALLOWED.value, HTTPStatus.CONFLICT.value}
)
_STARTED: Final = frozenset({HTTPStatus.OK.value, HTTPStatus.CREATED.value})


@dataclass(frozen=True, slots=True)
class Held:
    """So many bytes need not be sent again."""

    position: int


@dataclass(frozen=True, slots=True)
class Done:
    """It has become a file; None where the answer does not describe it."""

    file: RemoteFile | None


@dataclass(frozen=True, slots=True)
class Gone:
    """The session is no more."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The session is refused, for a reason that is not known here: a new one may do."""

    error: DestinationRefusedUpload


Outcome = Held | Done | Gone | Refused


class IdTaken(Exception):
    """A file with this id exists, or has existed."""


class StartRefused(Exception):
    """Drive refuses to begin."""

    def __init__(self, refusal: Refusal, answer: Answer) -> None:
        """Say how."""
        super().__init__(refusal.status)
        self.refusal = refusal
        self.answer = answer


async def start(api: DriveApi, metadata: Mapping[str, object], *, size: int | None, media_type: str) -> ResumableUpload:
    """Begin a session for a file of `size` bytes; None: it is not known yet (as google-api-python-client begins one for a stream).

    Raises:
        IdTaken: of the id in the metadata.
        StartRefused: for any other reason.
        DestinationUnavailable: there is no answer.
    """
    url = URL(f"{api.options.upload_url}/files").with_query(
        uploadType="resumable", supportsAllDrives="true", fields=FIELDS
    )
    headers = {"X-Upload-Content-Type": media_type}
    if size is not None:
        headers["X-Upload-Content-Length"] = str(size)
    answer = await api.send("POST", url, headers=headers, json_body=metadata)
    if answer.status == HTTPStatus.CONFLICT:
        raise IdTaken
    if (refusal := answer.refusal) is not None:
        raise StartRefused(refusal, answer)
    location = answer.headers.get("Location")
    if answer.status not in _STARTED or location is None:
        raise DestinationUnavailable("Google Drive began no upload session. What was received is kept.")
    api.judge(answer)
    return ResumableUpload(api, url.join(URL(location, encoded=True)), size=size, media_type=media_type)


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """One session."""

    api: DriveApi = field(repr=False)
    uri: URL = field(repr=False)
    size: int | None
    media_type: str

    async def put(self, first: int, body: PieceBody) -> Outcome:
        """Send bytes from `first` on; as many as the body announces.

        Raises:
            DestinationUnavailable, DestinationFull: as Drive says, or there is no answer; ask `where` before sending again.
        """
        last = first + (body.size or 0) - 1
        headers = {"Content-Range": f"bytes {first}-{last}/{self._total}"}
        return self._outcome(await self.api.send("PUT", self.uri, headers=headers, stream=body))

    async def where(self) -> Outcome:
        """How far it is. Raises as `put`.

        Without the file's size, or a session that has all of its bytes would become the file by the question.
        """
        return await self._ask("*")

    async def complete(self) -> Outcome:
        """Make the file of a session that has all of its bytes, an empty file's for example. Raises as `put`."""
        return await self._ask(self._total)

    async def _ask(self, total: str) -> Outcome:
        return self._outcome(await self.api.send("PUT", self.uri, headers={"Content-Range": f"bytes */{total}"}))

    @property
    def _total(self) -> str:
        """As Content-Range has it (RFC 9110 section 14.4)."""
        return "*" if self.size is None else str(self.size)

    async def cancel(self) -> None:
        """It is to be no more; idempotent. Raises as `put`, but when Drive has no such session, or none that is under way."""
        answer = await self.api.send("DELETE", self.uri)
        self.api.judge(answer, accept=_NO_MORE | _NOT_THAT)

    def _outcome(self, answer: Answer) -> Outcome:
        if answer.status == HTTPStatus.PERMANENT_REDIRECT:
            return Held(_position(answer.headers.get("Range"), self.size))
        if answer.status in _NO_MORE:
            return Gone()
        try:
            self.api.judge(answer)
        except DestinationRefusedUpload as exc:
            if answer.refusal is not None and says_why(answer.refusal):
                raise
            # "For any 4xx errors (including 403) during a resumable upload, restart the upload" (Drive's guide to uploads)
            return Refused(exc)
        said = answer.value()
        return Done(RemoteFile.parse(said) if "id" in said else None)


def _position(header: str | None, size: int | None) -> int:
    if header is None:
        return 0
    form = _HELD.fullmatch(header.replace(" ", ""))
    position = int(form[1]) + 1 if form is not None else -1
    if position < 0 or (size is not None and position > size):
        raise DestinationUnavailable("Google Drive says nothing sensible of how far it is. What was received is kept.")
    return position
