"""The tables of a run's file: older files get the newest ones or stay as they are, newer ones are refused."""

from __future__ import annotations

import pytest

from labelwise.errors import RunError
from labelwise.store import Store, schema


def test_newer_and_older_schemas(tmp_path, monkeypatch):
    file = tmp_path / "run.db"
    with Store(file) as store:
        store.add_classes(["a"])
    more = (*schema.MIGRATIONS, "CREATE TABLE extra (x INTEGER); INSERT INTO extra VALUES (1)")
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", more)
        with pytest.raises(RunError, match="older schema"):
            Store(file, read_only=True)
        with Store(file) as store:
            assert store._db.rows("SELECT x FROM extra") == [(1,)]
            assert store.classes() == ("a",)
    for read_only in (False, True):
        with pytest.raises(RunError, match="newer labelwise"):
            Store(file, read_only=read_only)


def test_a_migration_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "run.db"
    Store(file).close()
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE extra (x); CREATE TABLE classes (x)"))
        with pytest.raises(RunError, match="already exists"):
            Store(file)
    with Store(file) as store:
        assert store._db.rows("SELECT name FROM sqlite_master WHERE name = 'extra'") == []


def test_a_run_of_an_older_labelwise_gets_the_tables(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        at = next(i for i, script in enumerate(schema.MIGRATIONS) if "CREATE TABLE answers" in script)
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:at])
        Store(tmp_path / "run.db").close()
    with Store(tmp_path / "run.db") as store:
        assert store.tags() == store.people.answers() == {}
