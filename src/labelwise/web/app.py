"""The application: the rooms of the page, each with its routes, behind one guard."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware

from labelwise.web import annotate, explore, pictures, rounds
from labelwise.web.guard import Guard
from labelwise.web.mistakes import tell_mistakes
from labelwise.web.served import Served

STATIC = Path(__file__).with_name("static")
ROOMS = ("explore", "annotate", "rounds")


def make_app(folder: Path, *, port: int, token: str = "") -> FastAPI:
    """The application for a run's folder, to be served at this port; with a token every request must know it.

    Raises RunError if the folder holds no run.
    """
    served = Served(folder)
    app = FastAPI(
        title="labelwise",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        middleware=[Middleware(Guard, port=port, token=token)],
    )
    app.state.served = served
    for room in (pictures, explore, annotate, rounds):
        app.include_router(room.routes(served))
    tell_mistakes(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse("/annotate" if served.store.queries(open_only=True) else "/explore")

    page = (STATIC / "page.html").read_text(encoding="utf-8")
    for room_name in ROOMS:
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
