"""Following a run: what it does now, what its labels bought, what the next round may bring."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from labelwise.web.served import Served


def routes(served: Served) -> APIRouter:
    """Routes of the room in which rounds are followed."""
    router = APIRouter(prefix="/api/rounds")

    @router.get("/state")
    def state() -> dict[str, Any]:
        """Where the run stands."""
        store = served.store
        return {"name": served.config.name, "state": store.setting("state"), "message": store.setting("message")}

    return router
