"""Users who are held out are in no view of the CRM, and in every table by which contacting is measured."""

from __future__ import annotations

from typing import Any

import pytest

from rekindle import embedded, identity, publication, warehouse
from rekindle.methods import holdout
from tests.rekindle.warehouse_shop import TABLES, Shop


def test_held_out_users_are_withheld_from_the_crm_and_kept_for_measurement(shop: Shop) -> None:
    shop.draws.update({"user 0": 0.049, "user 1": 0.05, "user 2": 0.9})
    run = shop.run()
    shop.publish(run, holdout_share=0.05)
    seen = f"SELECT DISTINCT user_id FROM {{}} WHERE source = '{shop.source}' ORDER BY 1"
    assert shop.read(seen.format("lists")) == [("user 1",), ("user 2",)]
    assert shop.read(seen.format("lists_by_run")) == [("user 1",), ("user 2",)]
    assert shop.read(f"SELECT buyers FROM weeks WHERE source = '{shop.source}'") == [(1,)], "a week is nobody's"
    told = shop.read(f"SELECT user_id, is_held_out FROM users WHERE source = '{shop.source}' ORDER BY 1")
    assert told == [("user 0", True), ("user 1", False), ("user 2", False)]
    measured = shop.read(
        "SELECT u.is_held_out, count(*) FROM serve.lists t JOIN serve.users u USING (source, user_key)"
        f" WHERE run_id = '{run.run_id}' GROUP BY 1 ORDER BY 1",
        "analyst",
    )
    assert measured == [(False, 4), (True, 2)]


def test_another_share_holds_from_the_night_that_says_so_and_a_rollback_brings_the_old_one_back(shop: Shop) -> None:
    shop.draws.update({"user 0": 0.01, "user 1": 0.07, "user 2": 0.9})
    first, second = shop.run(), shop.run()
    shop.publish(first, holdout_share=0.05)
    shop.publish(second, holdout_share=0.1)
    seen = f"SELECT DISTINCT user_id FROM lists WHERE source = '{shop.source}'"
    assert shop.read(seen) == [("user 2",)]
    with shop.connect() as conn:
        publication.roll_back(conn, shop.source, first.run_id, "ann", "")
    assert len(shop.read(seen)) == 2


def test_users_from_before_there_was_a_holdout_are_given_their_draw(home: Any, environment_of: Any) -> None:
    embedded.start(home)
    environment = environment_of(home)
    salt = home / "secrets" / "holdout_salt"
    identity.make_key(salt)
    told = environment.identity.model_copy(update={"holdout_salt_file": salt})
    environment = environment.model_copy(update={"identity": told})
    warehouse.migrate(environment, TABLES)
    shop = Shop(environment, "old_shop")
    shop.publish(shop.run())
    with warehouse.connect(environment, "owner") as conn:
        conn.execute("DROP VIEW crm.lists, crm.lists_by_run, crm.users, serve.users")
        conn.execute("ALTER TABLE vault.user_keys DROP COLUMN holdout_draw")
    with pytest.raises(warehouse.WarehouseError, match=r"vault.user_keys lacks column holdout_draw.*make migrate"):
        warehouse.migrate(environment, TABLES)
    warehouse.migrate(environment, TABLES, replace_views=True)
    drawn = shop.read("SELECT user_id, holdout_draw FROM vault.user_keys ORDER BY 1", "owner")
    assert drawn == [(f"user {n}", holdout.draw(identity.read_key(salt), "old_shop", f"user {n}")) for n in range(3)]
    assert len(shop.read("SELECT * FROM lists")) == 6
