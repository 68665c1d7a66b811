"""HTML forms with files: each file becomes an upload as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor

from app.core.body import RequestBody
from app.core.errors import ForebayError, InvalidRequest
from app.core.media_type import media_type_of
from app.core.upload import NameConflictPolicy
from app.protocols.multipart_form import FormParser, Part
from app.services.form import Form, PartBody
from app.services.live import LiveUpload
from app.services.new_upload import NewUpload
from app.services.whole_files import WholeFiles

__all__ = ["Forms"]


class Forms:
    """Receives forms."""

    def __init__(self, files: WholeFiles, threads: Executor) -> None:
        """Keep what it works with; see `Form`."""
        self._files = files
        self._threads = threads

    async def receive(self, owner: str, body: RequestBody, content_type: str) -> list[LiveUpload]:
        """Take every file of a form; returns when all are safe. Their ways to their destinations go on by themselves.

        The fields `path`, `destination` and `on_conflict` are about the files behind them; others mean nothing here.

        Raises:
            UnsupportedMediaType, InvalidRequest: it is no form, or has no file.
            What `WholeFiles.receive` raises, of one file; those before it are stored, and named in `uploads`.
        """
        form = Form(body, FormParser(content_type), self._threads, owner)
        said: dict[str, str] = {}
        received: list[LiveUpload] = []
        try:
            async for part in form.parts():
                if part.filename is None:
                    said[part.name] = await form.field()
                elif part.filename:
                    received.append(await self._files.receive(owner, _wanted(part, said), PartBody(form)))
                elif await form.field():  # without content it is a file that was not chosen
                    raise InvalidRequest("A file of the form has no name.")
            if not received:
                raise InvalidRequest("The form has no file.")
        except ForebayError as exc:
            exc.extensions["uploads"] = [live.row.id for live in received]
            raise
        return received


def _wanted(part: Part, said: Mapping[str, str]) -> NewUpload:
    policy = said.get("on_conflict", NameConflictPolicy.RENAME)
    if policy not in set(NameConflictPolicy):
        raise InvalidRequest(f"on_conflict is one of {', '.join(NameConflictPolicy)}.")
    return NewUpload(
        filename=part.filename or "",
        size=None,
        folder=said.get("path", ""),
        media_type=media_type_of(part.media_type),
        destination=said.get("destination", "default"),
        on_conflict=NameConflictPolicy(policy),
    )
