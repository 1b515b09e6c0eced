"""Annotating: the queue of open queries, and the answers of people."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from labelwise.web.served import Served


def routes(served: Served) -> APIRouter:
    """Routes of the room in which queries are answered."""
    router = APIRouter(prefix="/api/annotate")

    @router.get("/state")
    def state() -> dict[str, Any]:
        """How many queries are open."""
        return {"task": served.config.task, "open": len(served.store.queries(open_only=True))}

    return router
