"""The error tree: drawn as it is, and every error survives the way from a worker."""

from __future__ import annotations

import pickle

import pytest

from labelwise import errors

KINDS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_can_be_pickled_and_keep_their_message(kind):
    copy = pickle.loads(pickle.dumps(kind("expected x, found y")))
    assert type(copy) is kind
    assert str(copy) == "expected x, found y"


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_draws_every_error_and_each_says_what_it_is(kind):
    assert kind.__name__ in errors.__doc__
    assert kind.__doc__


def test_every_error_is_the_users_to_mend():
    assert all(issubclass(k, errors.LabelwiseError) for k in KINDS)
    assert issubclass(errors.RunLocked, errors.RunError)
    assert issubclass(errors.RunChanged, errors.RunError)
