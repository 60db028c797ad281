"""What a shop's users and items are called is data: stored, published and exported, it does nothing (F105)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from rekindle import crm_export, warehouse
from rekindle.csv_cells import as_it_was
from tests.hostile_texts import aimed, statements
from tests.rekindle.warehouse_shop import LISTS, Shop, middle


def definitions(shop: Shop) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that a statement could change of the database's definitions, rights and roles."""
    asked = {
        "relations": "SELECT oid::int, relname, relkind, relfilenode::int, relacl::text FROM pg_class",
        "functions": "SELECT oid::int, proname, proacl::text FROM pg_proc",
        "schemas": "SELECT oid::int, nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'",
        "roles": "SELECT rolname, rolsuper, rolcanlogin, rolcreaterole FROM pg_roles",
        "members": "SELECT roleid::int, member::int FROM pg_auth_members",
        "settings": "SELECT setdatabase::int, setrole::int, setconfig::text FROM pg_db_role_setting",
        "files": "SELECT count(*)::int, 0 FROM pg_largeobject_metadata",
    }
    with warehouse.connect(shop.environment, "owner") as conn:
        return {what: sorted(conn.execute(statement).fetchall(), key=str) for what, statement in asked.items()}  # type: ignore[call-overload]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    tmp_path.chmod(0o777)  # the server may be another user
    return tmp_path / "canary"


def test_statements_as_ids_and_titles_are_published_as_texts_and_change_nothing(shop: Shop, canary: Path) -> None:
    texts = aimed(statements(), str(canary))
    assert len(texts) >= 200
    shop.publish(shop.run())
    run = shop.run()
    with shop.connect() as conn:
        pairs = [(f"p{n}", text) for n, text in enumerate(texts)]
        assert warehouse.add_user_keys(conn, shop.source, 1, pairs, middle) == len(texts)
    before, rows = definitions(shop), shop.rows(run)
    rows[LISTS] += [
        {"user_key": f"p{n}", "place": 1, "title": text, "score": 0.5, "reasons": [text, None, text[::-1]]}
        for n, text in enumerate(texts)
    ]
    assert shop.publish(run, shop.stage(run, rows)).status == "published"

    found = shop.read(f"SELECT user_id, title, reasons FROM lists WHERE source = '{shop.source}' AND score = 0.5")
    assert {user: (title, reasons) for user, title, reasons in found} == {t: (t, [t, None, t[::-1]]) for t in texts}
    assert definitions(shop) == before
    assert not canary.exists()
    with shop.connect("crm_reader") as conn:
        for text in texts:
            asked = [shop.source, text]
            [(count,)] = conn.execute("SELECT count(*) FROM lists WHERE source = %s AND user_id = %s", asked).fetchall()
            assert count == 1, "a client that binds its values finds each user by any id"

    done = crm_export.export(shop.environment, canary.parent, "lists", shop.source)
    with done.path.open(encoding="utf-8", newline="") as file:
        exported = {as_it_was(row["user_id"]): as_it_was(row["title"]) for row in csv.DictReader(file, strict=True)}
    assert exported.items() >= {text: text for text in texts}.items()
    assert shop.publish(shop.run()).status == "published", "the next night is a night like any other"


def test_a_pseudonym_may_be_any_text_too(shop: Shop, canary: Path) -> None:
    """Pseudonyms are hex digits; nothing rests on it."""
    texts = aimed(statements(), str(canary))[::7]
    run = shop.run()
    with shop.connect() as conn:
        warehouse.add_user_keys(conn, shop.source, 1, [(text, f"user of {text}") for text in texts], middle)
    rows = shop.rows(run)
    rows[LISTS] = [{"user_key": text, "place": 1} for text in texts]
    shop.publish(run, shop.stage(run, rows))
    found = {user for (user,) in shop.read(f"SELECT user_id FROM lists WHERE source = '{shop.source}'")}
    assert found == {f"user of {text}" for text in texts}


def test_a_text_that_the_warehouse_cannot_hold_stops_its_own_night_only(shop: Shop) -> None:
    """PostgreSQL holds no NUL; cleaning quarantines such lines long before."""
    good, bad = shop.run(), shop.run()
    shop.publish(good)
    rows = shop.rows(bad)
    rows[LISTS].append({"user_key": "k0", "place": 3, "title": "a\0b"})
    with pytest.raises(Exception, match=r"0x00|NUL"):
        shop.publish(bad, shop.stage(bad, rows))
    assert shop.read(f"SELECT DISTINCT run_id FROM lists WHERE source = '{shop.source}'") == [(good.run_id,)]
