"""How mistakes are told to the page: one line each, with a status that says whose they are."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from labelwise.errors import LabelwiseError, RunError
from labelwise.ownership import UNWRITABLE


def tell_mistakes(app: FastAPI) -> None:
    """Let an application answer every mistake with ``{"error": one line}``."""
    app.add_exception_handler(LabelwiseError, _users)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(OSError, _files)
    # Texts that are none (half a surrogate pair) and whole numbers beyond what a database holds.
    app.add_exception_handler(UnicodeEncodeError, _no_text)
    app.add_exception_handler(OverflowError, _too_far)


def _answer(status: int, text: str) -> JSONResponse:
    line = " ".join(text.split()).encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": line}, status_code=status)


def _users(_request: Request, error: Exception) -> JSONResponse:
    """A user's mistake; or a store that could not be used now, which may go well later."""
    away = isinstance(error, RunError) and error.__cause__ is not None  # the database, or the disk below it
    return _answer(503 if away else 400, str(error))


def _misread(_request: Request, error: Exception) -> JSONResponse:
    """A request that its schema does not allow. What was sent is not sent back: it may be no valid JSON."""
    assert isinstance(error, RequestValidationError)
    said = [f"{'.'.join(map(str, found['loc'][1:])) or 'body'}: {found['msg']}" for found in error.errors()[:3]]
    return _answer(422, "; ".join(said))


def _refused(_request: Request, error: Exception) -> JSONResponse:
    """A refusal with a status of its own; ``detail`` as well, as the framework calls it."""
    assert isinstance(error, HTTPException)
    answer = {"error": str(error.detail), "detail": error.detail}
    return JSONResponse(answer, status_code=error.status_code, headers=error.headers)


def _files(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    what = f"cannot use {error.filename or 'a file'}: {error.strerror or error}"
    if error.errno in UNWRITABLE:
        return _answer(507, f"{what}; make room or change its permissions, then try again")
    return _answer(503, what)


def _no_text(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(400, "expected text, found characters that are none")


def _too_far(_request: Request, _error: Exception) -> JSONResponse:
    return _answer(400, "expected a number within the usual bounds, found one beyond")
