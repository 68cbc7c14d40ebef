"""What probes and load balancers ask. Each reply has the reason when the answer is no."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.endpoint import json_response
from app.api.errors import Responses
from app.health import Health

router = APIRouter(tags=["Health"])


class Well(BaseModel):
    """All is well."""

    status: Literal["ok"]


class Unwell(BaseModel):
    """It is not, and why."""

    status: Literal["unavailable"]
    reason: str


RESPONSES: Responses = {503: {"model": Unwell, "description": "Service Unavailable"}}


def health_of(request: Request) -> Health:
    """The process's health, where `build_api` and `build_ops` have put it."""
    health: Health = request.app.state.health
    return health


def _reply(reason: str | None) -> Response:
    if reason is None:
        return json_response({"status": "ok"})
    return json_response({"status": "unavailable", "reason": reason}, status=503)


@router.get("/startupz", response_model=Well, responses=RESPONSES)
async def startupz(request: Request) -> Response:
    """The model is loaded and warm."""
    return _reply(health_of(request).started())


@router.get("/readyz", response_model=Well, responses=RESPONSES)
@router.get("/health", response_model=Well, responses=RESPONSES)
async def readyz(request: Request) -> Response:
    """A request sent now would be answered."""
    return _reply(health_of(request).ready())


@router.get("/livez", response_model=Well, responses=RESPONSES)
async def livez(request: Request) -> Response:
    """Neither event loop nor worker is stuck; else only a restart helps."""
    return _reply(health_of(request).live())
