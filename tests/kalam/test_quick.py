"""The quick way answers what the ordinary way answers, and leaves the same behind."""

from __future__ import annotations

import re
from typing import Any

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, KalamError, Result
from kalam_jupyter.kalam.context import Change, Context
from kalam_jupyter.kalam.execute import Step
from kalam_jupyter.kalam.quick import Quick, _Write
from kalam_jupyter.kalam.serialize import dumps, result_json
from kalam_jupyter.kalam.statements import nodes
from tests.kalam.conftest import CONFIG, START_MS, Client

#: In this order. Those marked True are no work for the quick way.
STATEMENTS = [
    ("CREATE NAMESPACE app", False),
    ("CREATE NAMESPACE app", False),
    ("CREATE NAMESPACE IF NOT EXISTS app", False),
    ("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT NOT NULL, v INT)", False),
    ("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY)", False),
    ("CREATE SHARED TABLE app.u (id BIGINT)", False),
    ("CREATE SHARED TABLE nowhere.t (id BIGINT PRIMARY KEY)", False),
    ("ALTER TABLE app.t ADD COLUMN extra INT DEFAULT 5", False),
    ("ALTER TABLE app.t ADD COLUMN extra INT", False),
    ("ALTER TABLE app.t RENAME COLUMN extra TO more", False),
    ("ALTER TABLE app.missing DROP COLUMN extra", False),
    ("ALTER TABLE app.t DROP COLUMN more", False),
    ("INSERT INTO app.t VALUES (1, 'a', 1), (2, 'b', 2)", False),
    ("INSERT INTO app.t VALUES (1, 'again', 1)", False),
    ("INSERT INTO app.t VALUES (3, NULL, 1)", False),
    ("INSERT INTO app.t VALUES ('x', 'y', 1)", False),
    ("INSERT INTO app.t VALUES (4, upper('d'), 4)", True),
    ("BEGIN; INSERT INTO app.t VALUES (5, 'e', 5); INSERT INTO app.t VALUES (6, 'f', 6); COMMIT", False),
    ("BEGIN; INSERT INTO app.t VALUES (7, 'g', 7); INSERT INTO app.t VALUES (5, 'dup', 6); COMMIT", False),
    ("BEGIN; INSERT INTO app.t VALUES (8, 'h', 8); ROLLBACK", True),
    ("BEGIN; UPDATE app.t SET v = 9 WHERE id = 5; DELETE FROM app.t WHERE id = 6; COMMIT", False),
    ("BEGIN; INSERT INTO app.t VALUES (9, 'i', 8)", True),
    ("UPDATE app.t SET v = 7, name = 'it''s' WHERE id = 2", False),
    ("UPDATE app.t SET v = v + 1 WHERE id = 2", False),
    ("UPDATE app.t SET v = 'many' WHERE id = 2", False),
    ("UPDATE app.t SET id = 3 WHERE id = 2", False),
    ("UPDATE app.t SET v = 0 WHERE v > 100", True),
    ("UPDATE app.missing SET v = 0 WHERE id = 1", True),
    ("DELETE FROM app.t WHERE id = 1", False),
    ("DELETE FROM app.t WHERE id = 'one'", False),
    ("SELECT * EXCEPT (_seq) FROM app.t", True),
    ("SELECT id, name, v, _deleted FROM app.t", False),
    ("SELECT id FROM app.t WHERE v > 3 ORDER BY v DESC, id LIMIT 2 OFFSET 1", False),
    ("SELECT count(*) FROM app.t WHERE name LIKE 'i%'", False),
    ("SELECT name AS n FROM app.t WHERE id = 2;", False),
    ("SELECT nothing FROM app.t", True),
    ("SELEC 1", False),
    ("", False),
    ("ALTER TABLE app.t SET ACCESS LEVEL public", False),
    ("CREATE USER 'ann' WITH PASSWORD 'AnnPass123!' ROLE user", True),
    ("DROP USER 'ann'", False),
    ("DROP USER 'ann'", False),
    ("DROP USER IF EXISTS 'ann'", False),
    ("DROP USER 'root'", False),
]
#: What differs from run to run.
_OWN = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


class Way:
    """An engine, and what was answered."""

    def __init__(self) -> None:
        self.engine = Engine.open(clock=Clock(START_MS))
        self.engine.start()
        self.kalam = Kalam(self.engine, CONFIG)
        self.session = self.kalam.session("root")

    def ordinary(self, sql: str) -> list[Result] | BaseException:
        try:
            return self.kalam.execute(self.session, sql, limit=True)
        except KalamError as error:
            return error

    def quick(self, sql: str) -> list[Result] | BaseException | None:
        answers: list[list[Result] | BaseException] = []
        quick = Quick(self.kalam, lambda: None)
        started = quick.start(self.session, sql, (), "default", limit=True, done=answers.append)
        quick.commit()
        self.engine.transact(lambda tx: None)  # what was queued is done
        assert len(answers) == started
        return answers[0] if started else None

    def left(self) -> list[Any]:
        texts = (
            "SELECT action, target, details FROM system.audit_log ORDER BY timestamp, action, target",
            "SELECT * FROM app.t WHERE _deleted OR NOT _deleted",
            "SELECT table_name, version, columns, options FROM system.schemas ORDER BY table_name, version",
        )
        return [shown(self.ordinary(text)) for text in texts]

    def close(self) -> None:
        self.kalam.close()
        self.engine.close()


def shown(found: list[Result] | BaseException) -> Any:
    if isinstance(found, KalamError):
        return found.code, found.status, _OWN.sub("", found.message), found.details
    assert not isinstance(found, BaseException)
    return [_OWN.sub("", dumps(result_json(result, mask=False)).decode()) for result in found]


def test_both_ways_say_and_do_the_same() -> None:
    quick, ordinary = Way(), Way()
    for sql, refused in STATEMENTS:
        expected = ordinary.ordinary(sql)
        found = quick.quick(sql)
        assert (found is None) == refused, sql
        assert shown(quick.ordinary(sql) if found is None else found) == shown(expected), sql
    assert quick.left() == ordinary.left()
    quick.close()
    ordinary.close()


def test_a_defect_in_answering_is_the_answer(root: Client) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    told: list[Any] = []
    ctx, step = Context(root.kalam, root.session), Step(1, "", nodes.Begin())
    _Write(ctx, step, Change(fail, fail), told.append).told(1, None)
    assert [type(t) for t in told] == [ZeroDivisionError]
