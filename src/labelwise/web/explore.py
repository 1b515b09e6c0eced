"""Exploring: the map, the grid, filters, tags, and everything known of one image."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from labelwise.web.served import Served


def routes(served: Served) -> APIRouter:
    """Routes of the room in which images are explored."""
    router = APIRouter(prefix="/api/explore")

    @router.get("/samples")
    def samples() -> dict[str, Any]:
        """The ids of all images."""
        return {"ids": list(served.samples)}

    return router
