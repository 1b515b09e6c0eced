"""Second looks at labels, in the store: what is suspect, what was said of it, and when that counts."""

from __future__ import annotations

import pytest

from labelwise.records import Annotation, Query, Sample, Target
from labelwise.store import Store
from labelwise.store.second_looks import Suspect


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run.db") as found:
        found.add_samples((Sample(f"{i}.png", tmp_path / f"{i}.png"), "pool") for i in range(3))
        found.add_queries(Query(f"q{i}", 0, i, f"{i}.png") for i in range(3))
        yield found


def test_second_looks_keep_what_was(store):
    cat, dog = Target(("cat",)), Target(("dog",))
    looks = store.second_looks
    assert not looks.check("q0", dog, "ann", 1.0)  # nobody has labelled it
    store.add_annotations([Annotation("q0", cat, "ben"), Annotation("q1", cat, "ben")])
    suspects = [Suspect(f"{i}.png", f"q{i}", 0, "cat", "dog", 0.1, "by others") for i in (1, 0)]
    looks.set_suspects(suspects)
    assert looks.suspects() == suspects
    assert looks.check("q0", dog, "ann", 1.0)
    assert looks.check("q0", None, "ann", 1.0)  # changed her mind
    assert looks.suspects() == suspects[:1]
    assert store.annotations()["q0"].target == cat
    assert looks.apply(3) == 1
    assert looks.apply(4) == 0
    assert store.annotations()["q0"].skipped
    assert store.annotations()["q0"].annotator == "ben"
    assert not looks.uncheck("q0")  # it counts already
    assert looks.check("q0", cat, "cyd", None)
    assert [(c.old, c.new, c.annotator, c.round) for c in looks.checks()] == [
        (cat, None, "ann", 3), (None, cat, "cyd", None),
    ]  # fmt: skip
    assert looks.uncheck("q0")
    looks.set_suspects([])
    assert looks.suspects(unchecked=False) == []
