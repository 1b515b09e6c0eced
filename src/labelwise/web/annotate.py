"""Annotating: the queue of open queries, who works on which, and the answers of people."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import Field

from labelwise.web.answering import Body, Class, Count, Given, Id, Seconds, Text
from labelwise.web.queue import Queue
from labelwise.web.served import Served

Json = dict[str, Any]
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "the answer does not fit the query"},
    404: {"description": "there is no such query"},
    409: {"description": "the query was taken in, or given to others"},
}
_NONE = "there is no such question (any more)"
_WHY = {
    "unknown": (404, _NONE),
    "taken_in": (409, "the round was made of its answers already: this one cannot be changed any more"),
    "given_to_others": (409, "your time for it ran out, and it was given to somebody else"),
}


class Ask(Body):
    """Who asks for questions, and how many to hold in all."""

    annotator: Text
    count: Annotated[int, Field(ge=1, le=8)] = 1


class Effort(Body):
    """What an answer took: clicks and keys, corrections of what was proposed, steps taken back."""

    clicks: Count = 0
    keys: Count = 0
    corrections: Count = 0
    undone: Count = 0


class Posted(Body):
    """An answer of a person to a query."""

    query: Id
    annotator: Text
    answer: Given
    seconds: Seconds | None = None
    effort: Effort = Effort()


class Own(Body):
    """A query that is a person's."""

    query: Id
    annotator: Text


class Held(Body):
    """Queries that a person holds."""

    annotator: Text
    queries: Annotated[list[Id], Field(max_length=100)]


class Named(Body):
    """A class that a person adds."""

    name: Text
    annotator: Text


class Looked(Body):
    """What a label is after a second look: a class, or None where the image shows none."""

    query: Id
    annotator: Text
    name: Class | None
    seconds: Seconds | None = None


class Who(Body):
    """Who asks for something."""

    annotator: Text


def routes(served: Served) -> APIRouter:
    """Routes of the room in which queries are answered."""
    router = APIRouter(prefix="/api/annotate", responses=_REFUSALS)
    queue = Queue(served)
    _asking(router, queue)
    _answering(router, queue)
    _shared(router, queue)
    _again(router, queue)
    return router


def _asking(router: APIRouter, queue: Queue) -> None:
    @router.get("/state")
    def state(annotator: Annotated[str, Query(max_length=100)] = "") -> Json:
        """How far the round is, the classes, and who is at work."""
        return queue.state(annotator)

    @router.post("/next")
    def following(body: Ask) -> Json:
        """The questions that a person holds now: those from before first, then the most wanted that are free."""
        return {"questions": queue.lease(body.annotator, body.count), "state": queue.state(body.annotator)}

    @router.get("/question")
    def one(query: Annotated[str, Query(max_length=200)], annotator: Annotated[str, Query(max_length=100)]) -> Json:
        """One question again, with the person's own answer."""
        return _question(queue.again(query, annotator))

    @router.get("/mine")
    def mine(
        annotator: Annotated[str, Query(max_length=100)], limit: Annotated[int, Query(ge=1, le=500)] = 50
    ) -> list[Json]:
        """A person's answers that can still be changed, the newest first."""
        return queue.mine(annotator, limit)

    @router.get("/regions", response_class=Response)
    def regions(query: Annotated[str, Query(max_length=200)]) -> Response:
        """The regions that a question is about, as a picture of their numbers."""
        picture = queue.regions(query)
        if picture is None:
            raise HTTPException(404, _NONE)
        return Response(picture, media_type="image/png", headers={"Cache-Control": "no-store"})


def _answering(router: APIRouter, queue: Queue) -> None:
    @router.post("/answer")
    def answer(body: Posted) -> Json:
        """Keep an answer; the same again changes nothing, another one of the same person takes its place."""
        verdict = queue.answer(body.query, body.annotator, body.answer, body.seconds, body.effort.model_dump())
        _refuse(verdict)
        return queue.state(body.annotator)

    @router.post("/undo")
    def undo(body: Own) -> Json:
        """Take back an own answer that is not taken in, and ask it again."""
        _refuse(queue.undo(body.query, body.annotator))
        return _question(queue.again(body.query, body.annotator))


def _shared(router: APIRouter, queue: Queue) -> None:
    @router.post("/heartbeat")
    def heartbeat(body: Held) -> Json:
        """A sign of life: which of these questions are still the person's."""
        return {"held": queue.renew(body.annotator, body.queries)}

    @router.post("/release")
    def release(body: Held) -> Json:
        """Give questions back, so that others get them at once."""
        queue.release(body.annotator, body.queries)
        return {"released": len(body.queries)}

    @router.post("/class")
    def add_class(body: Named) -> Json:
        """Add a class in the middle of a run; it becomes one of the run's when the round is made of its answers."""
        queue.add_class(body.name, body.annotator)
        return {"classes": queue.classes()}

    @router.post("/close")
    def close(body: Who) -> Json:
        """Make the round of the answers that are there; what nobody has answered is not asked in it any more."""
        return queue.close() | {"state": queue.state(body.annotator)}


def _again(router: APIRouter, queue: Queue) -> None:
    @router.get("/suspects")
    def suspects() -> Json:
        """Labels that may be wrong, most suspect first, and how many second looks wait for the next training."""
        return queue.suspects()

    @router.post("/check")
    def check(body: Looked) -> Json:
        """Keep what a label is after a second look; it counts from the next training on."""
        if not queue.check(body.query, body.name, body.annotator, body.seconds):
            raise HTTPException(404, "there is no such label")
        return queue.suspects()

    @router.post("/uncheck")
    def uncheck(body: Own) -> Json:
        """Take back a second look that waits."""
        if not queue.uncheck(body.query):
            raise HTTPException(404, "no second look at this label waits")
        return queue.suspects()


def _refuse(verdict: str) -> None:
    if verdict in _WHY:
        status, why = _WHY[verdict]
        raise HTTPException(status, why)


def _question(found: Json | None) -> Json:
    if found is None:
        raise HTTPException(404, _NONE)
    return found
