"""The command line: its verbs, one line for every mistake, and exit codes.

Exit codes: 0 done or waiting for people, 1 the user's mistake (one line), 2 usage, 3 interrupted and resumable.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

from labelwise.errors import LabelwiseError
from labelwise.verbs import compare, exchange, run, start
from labelwise.verbs.embed import embed
from labelwise.verbs.pick import pick
from labelwise.verbs.predict import predict
from labelwise.verbs.serve import serve

INTERRUPTED = 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Find what is worth labelling, get it labelled, retrain, and see what every label bought.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order of the help.
VERBS: dict[str, Callable[..., None]] = {
    "demo": start.demo,
    "init": start.init,
    "check": run.check,
    "run": run.run,
    "step": run.step,
    "status": run.status,
    "simulate": compare.simulate,
    "compare": compare.compare,
    "embed": embed,
    "pick": pick,
    "serve": serve,
    "export": exchange.export,
    "import": exchange.import_answers,
    "predict": predict,
    "list": start.list_names,
}
for name, verb in VERBS.items():
    app.command(name)(verb)


def main() -> None:
    """Entry point of ``labelwise``."""
    signal.signal(signal.SIGTERM, _on_term)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not app(): it would turn an interruption and a closed pipe into exit codes of its own.
        command = typer.main.get_command(app)
        with command.make_context("labelwise", sys.argv[1:]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except LabelwiseError as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        _interrupted()
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except Exception as error:
        _explain(error)
        raise
    sys.exit(0)


def _on_term(_signal: int, _frame: Any) -> None:
    # Not an Exception: a library that swallows those must not swallow the wish to stop.
    raise KeyboardInterrupt


def _interrupted() -> None:
    with suppress(OSError):
        sys.stdout.flush()
        typer.echo("interrupted: what was finished is kept; run the same command again to resume", err=True)
    # A second Ctrl-C while threads wind down must not print a traceback.
    os._exit(INTERRUPTED)


def _explain(error: Exception) -> None:
    """Exit as the command line's own errors want it; a reader that went away (``| head``) is none."""
    if callable(show := getattr(error, "show", None)):  # click's usage errors, wherever this typer keeps its click
        show()
        sys.exit(getattr(error, "exit_code", 2))
    if isinstance(error, BrokenPipeError):
        os._exit(0)
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        _fail(f"cannot use{where}: {error.strerror or error}; make room or change its permissions, then run again")
    if isinstance(error, MemoryError):
        _fail("out of memory: use a smaller batch, fewer workers or a smaller network, then run again to resume")


def _fail(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.stderr.flush()
    sys.exit(1)


if __name__ == "__main__":
    main()
