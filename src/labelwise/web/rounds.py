"""Following a run: what it does now, what its labels bought, what the next round may bring."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from labelwise.web.following import Followed
from labelwise.web.served import Served

# The report brings its own scripts and pictures inside itself; in a sandbox they reach nothing of this page.
_REPORT = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; sandbox allow-scripts allow-downloads; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


def routes(served: Served) -> APIRouter:
    """Routes of the room in which rounds are followed."""
    router = APIRouter(prefix="/api/rounds")
    followed = Followed(served)

    @router.get("/state")
    def state() -> dict[str, Any]:
        """Where the run stands: state, step, how far it is; ``version`` changes with every change of the run."""
        return followed.state()

    @router.get("/figures")
    def figures(target: Annotated[float | None, Query(gt=0, lt=1)] = None) -> dict[str, Any]:
        """Learning curve, forecast, classes, cost and advice; with ``target`` the labels that such a figure needs."""
        return followed.figures(target)

    @router.get("/report", response_class=HTMLResponse)
    def report() -> Response:
        """The run's report, as it would be written now."""
        return HTMLResponse(followed.report(), headers=_REPORT)

    return router
