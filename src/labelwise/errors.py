"""Errors a user can meet.

LabelwiseError            every error that is the user's to mend; the command line prints its one line and exits 1
├── ConfigError           a key, value or name in the configuration
├── DataError             a folder, table, image or annotation file
├── ModelError            a network, weight file or checkpoint
├── SelectionError        scores or vectors that cannot be selected from
├── ServerError           an annotation server that refuses, or holds what cannot be used
│   └── ServerAway        one that gives no answer now: running again goes on
└── RunError              a run's folder or state
    ├── RunLocked         another process owns the run
    └── RunChanged        the configuration differs from the one the run began with
"""

from __future__ import annotations


class LabelwiseError(Exception):
    """Base of all errors with a message for the user: what was expected, what was found, what to do."""


class ConfigError(LabelwiseError):
    """The configuration has a key, value or name that cannot be used."""


class DataError(LabelwiseError):
    """A dataset, image or annotation cannot be read or written."""


class ModelError(LabelwiseError):
    """A network, weight file or checkpoint cannot be used."""


class SelectionError(LabelwiseError):
    """Scores, vectors or counts from which nothing sensible can be selected."""


class ServerError(LabelwiseError):
    """An annotation server refuses what is asked, or holds something that cannot be used."""


class ServerAway(ServerError):
    """An annotation server gives no answer for now; what was done is kept, and running again goes on."""


class RunError(LabelwiseError):
    """A run's folder cannot be used, or its state does not allow what was asked."""


class RunLocked(RunError):
    """Another process is working on this run."""


class RunChanged(RunError):
    """The configuration given is not the one this run began with."""
