"""HTML forms, and `curl -F`: files in ordinary requests that know nothing of uploads."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.auth import User
from app.api.context import Ctx, body_of
from app.api.files import stored_status
from app.api.problems import answers
from app.api.views import UploadView, upload_view
from app.core.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    DigestMismatch,
    FileTooLarge,
    InvalidName,
    LimitReached,
    MemoryPressure,
    NameTaken,
    OutOfSpace,
    RequestTimedOut,
    StateConflict,
    TooManyPending,
    UnsupportedMediaType,
)
from app.protocols.multipart_form import MEDIA_TYPE
from app.services.interruption import abandoned_when_gone

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/forms", tags=["forms"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string", "description": "Relative folder of the files behind it."},
                        "destination": {"type": "string"},
                        "on_conflict": {"type": "string", "enum": ["rename", "fail", "replace"]},
                        "file": {"type": "string", "format": "binary", "description": "Any name, any number."},
                    },
                }
            }
        },
    }
}


class FormView(BaseModel):
    """What became of a form's files, in their order."""

    uploads: list[UploadView]


@router.post(
    "",
    status_code=201,
    openapi_extra=_BODY,
    responses={
        202: {"description": "All bytes are kept; a destination takes its time.", "model": FormView},
        303: {"description": "As 201 and 202, for a browser that shows what comes: to the upload page."},
        **answers(
            InvalidName,
            RequestTimedOut,
            NameTaken,
            StateConflict,
            FileTooLarge,
            BodyTooLarge,
            UnsupportedMediaType,
            DigestMismatch,
            TooManyPending,
            MemoryPressure,
            LimitReached,
            DatabaseUnavailable,
            OutOfSpace,
        ),
    },
)
async def post_form(context: Ctx, user: User, request: Request, response: Response) -> FormView:
    """Store the files of a form; answers when they are at their destinations, with 202 where that takes long."""
    body = body_of(request)
    received = await context.forms.receive(user.user, body, request.headers.get("content-type", ""))
    async with abandoned_when_gone(body):
        await asyncio.gather(*(context.uploads.arrived(live) for live in received))
    response.status_code = max(stored_status(live) for live in received)
    if context.settings.web and "text/html" in request.headers.get("accept", ""):
        response.status_code = 303
        response.headers["location"] = "/"
    return FormView(uploads=[upload_view(context, live) for live in received])
