"""Signing in once, for browsers: event streams and links can't carry a bearer token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import COOKIE, User, check_origin, client_address
from app.api.context import Ctx
from app.api.json_body import json_body, request_schema
from app.api.problems import answers

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/session", tags=["session"])


class SignIn(BaseModel):
    """A token."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")  # what a header field can carry


class SessionView(BaseModel):
    """Who is signed in."""

    user: str
    operator: bool


@router.post("", openapi_extra=request_schema(SignIn), responses=answers())
async def sign_in(
    context: Ctx, request: Request, response: Response, wanted: Annotated[SignIn, Depends(json_body(SignIn))]
) -> SessionView:
    """Exchange a token for a cookie that scripts can't read and that is sent to this site only."""
    check_origin(request, context)
    principal = await context.identity.of(wanted.token, client_address(request))
    encrypted = request.url.scheme == "https" or (context.settings.public_url or "").startswith("https://")
    response.set_cookie(COOKIE, wanted.token, httponly=True, samesite="strict", secure=encrypted, path="/")
    return SessionView(user=principal.user, operator=principal.operator)


@router.get("", responses=answers())
async def who_am_i(user: User) -> SessionView:
    """Who is signed in."""
    return SessionView(user=user.user, operator=user.operator)


@router.delete("", status_code=204, response_class=Response, responses=answers())
async def sign_out(context: Ctx, request: Request, response: Response) -> None:
    """Forget the cookie."""
    check_origin(request, context)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
