"""The application: the rooms of the page, each with its routes, behind one guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware

from labelwise.web import annotate, explore, pictures, rounds
from labelwise.web.guard import Guard
from labelwise.web.mistakes import tell_mistakes
from labelwise.web.served import Beside, Served, opened

STATIC = Path(__file__).with_name("static")
ROOMS = ("explore", "annotate", "rounds")


def make_app(folder: Path, *, port: int, token: str = "", beside: Beside | None = None) -> FastAPI:
    """The application for a run's folder, to be served at this port; with a token every request must know it.

    A folder of images without a run can be explored only; ``beside`` is what was given with it. Raises RunError if the
    folder holds neither.
    """
    served = opened(folder, beside)
    app = FastAPI(
        title="labelwise",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        middleware=[Middleware(Guard, port=port, token=token)],
    )
    app.state.served = served
    for room in (pictures, explore):
        app.include_router(room.routes(served))
    if isinstance(served, Served):
        for room_of_run in (annotate, rounds):
            app.include_router(room_of_run.routes(served))
    rooms = ROOMS if isinstance(served, Served) else ("explore",)
    tell_mistakes(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/api/about")
    def about() -> dict[str, Any]:
        """What is served, and the rooms that it has."""
        return {"name": served.name, "rooms": rooms}

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        asked = isinstance(served, Served) and served.store.queries(open_only=True)
        return RedirectResponse("/annotate" if asked else "/explore")

    page = (STATIC / "page.html").read_text(encoding="utf-8")
    for room_name in rooms:
        app.add_api_route(
            f"/{room_name}",
            _page(page, room_name),
            methods=["GET"],
            include_in_schema=False,
            response_class=HTMLResponse,
        )
    return app


def _page(text: str, room: str):  # type: ignore[no-untyped-def]
    whole = text.replace("{room}", room)

    def show() -> HTMLResponse:
        return HTMLResponse(whole)

    return show
