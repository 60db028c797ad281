"""Users like a user: the nearest by brute force, of the served run, and nobody whom the CRM is not to see."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest

from rekindle import publication, settings, warehouse, warehouse_vectors
from rekindle.contract import Column, ContractError, Likeness, Table
from tests.rekindle.warehouse_shop import DAY, Shop, batch, through

TASTES = Table(
    name="tastes",
    doc="One row per user.",
    key=("user_key",),
    columns=(
        Column("user_key", "string", "Pseudonym.", privacy="pseudonym"),
        Column("direction", "array<double>", "Direction."),
    ),
    likeness=Likeness(vector="direction", function="users_like"),
)
USERS = 30


def database(environment: settings.Environment, name: str) -> settings.Environment:
    conf = environment.warehouse.model_copy(update={"database": name})
    return environment.model_copy(update={"warehouse": conf})


@pytest.fixture(scope="module")
def served(environment: settings.Environment) -> settings.Environment:
    """A warehouse of its own with the table, migrated twice: a second time makes nothing."""
    made = database(environment, "alike")
    warehouse.migrate(made, (TASTES,))
    warehouse.migrate(made, (TASTES,))
    return made


def directions(seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    drawn = np.random.default_rng(seed).standard_normal((USERS, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def publish(shop: Shop, seed: int, holdout_share: float = 0.0) -> None:
    run = shop.run()
    rows = [{"user_key": f"k{n}", "direction": row.tolist()} for n, row in enumerate(directions(seed))]
    with shop.connect() as conn:
        told = {TASTES.name: publication.stage(conn, run, TASTES, [batch(TASTES, rows)])}
        publication.publish(conn, run, told, (TASTES,), through(DAY), holdout_share)


def test_the_nearest_come_first_of_the_served_run_and_nobody_who_is_held_out(served: settings.Environment) -> None:
    shop = Shop(served, "shop", users=USERS)
    shop.draws.update({f"user {n}": 0.01 for n in (3, 4, 5)})
    publish(shop, 1, holdout_share=0.05)
    other = Shop(served, "other_shop", users=USERS)
    publish(other, 2)
    publish(shop, 3, holdout_share=0.05)

    near = directions(3) @ directions(3)[0]
    wanted = [n for n in np.argsort(-near) if n not in (0, 3, 4, 5)]
    found = shop.read("SELECT user_id, similarity, run_id FROM users_like('shop', 'user 0', 100)")
    assert [row[0] for row in found] == [f"user {n}" for n in wanted]
    assert [row[1] for row in found] == pytest.approx(near[wanted].tolist(), abs=1e-6)
    assert {row[2] for row in found} == {"shop_2"}
    assert shop.read("SELECT count(*) FROM users_like('shop', 'user 0')") == [(10,)]
    assert shop.read("SELECT user_id FROM users_like('shop', 'user 0', n => 3)") == [(r[0],) for r in found[:3]]
    for nobody in ("'shop', 'user 3'", "'shop', 'a stranger'", "'no_shop', 'user 0'", "'shop', NULL"):
        assert shop.read(f"SELECT * FROM users_like({nobody}, 5)") == [], "held out, unknown, or not told"
    assert shop.read("SELECT * FROM users_like('shop', 'user 0', -1)") == []
    assert len(shop.read("SELECT * FROM users_like('other_shop', 'user 3', 100)")) == USERS - 1


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT embedding FROM serve.tastes",
        "SELECT * FROM vault.user_keys",
        "CREATE OR REPLACE FUNCTION crm.users_like(text, text, integer) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT pgvector.vector_dims(embedding) FROM serve.tastes",
    ],
)
def test_who_may_ask_for_users_like_one_may_read_nothing_else(served: settings.Environment, statement: str) -> None:
    with warehouse.connect(served, "crm_reader") as conn:
        conn.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)


@pytest.mark.parametrize("role", ["crm_writer", "analyst", "writer"])
def test_nobody_but_the_crms_reader_may_ask(served: settings.Environment, role: warehouse.Role) -> None:
    with warehouse.connect(served, role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT * FROM crm.users_like('shop', 'user 0', 1)")


def test_without_pgvector_everything_else_works_and_with_it_migrating_adds_the_function(
    environment: settings.Environment,
) -> None:
    with warehouse.connect(environment, "owner", database="postgres") as conn:
        conn.autocommit = True
        conn.execute("CREATE DATABASE plain")
        conn.execute("ALTER DATABASE plain SET extension_control_path = '/nowhere'")  # no extension can be found
    plain = database(environment, "plain")
    warehouse.migrate(plain, (TASTES,))
    shop = Shop(plain, "shop", users=USERS)
    publish(shop, 1)
    assert len(shop.read("SELECT * FROM tastes")) == USERS
    with shop.connect("owner") as conn:
        [told] = warehouse_vectors.missing(conn, (TASTES,))
    assert told.startswith("PostgreSQL has no extension vector (pgvector) here: crm.users_like is not made")
    with warehouse.connect(environment, "owner", database="postgres") as conn:
        conn.autocommit = True
        conn.execute("ALTER DATABASE plain RESET extension_control_path")
    warehouse.migrate(plain, (TASTES,))  # of a night: rows are not written anew while somebody may read them
    with pytest.raises(psycopg.errors.UndefinedFunction):
        shop.read("SELECT * FROM users_like('shop', 'user 0', 3)")
    warehouse.migrate(plain, (TASTES,), replace_views=True)
    assert len(shop.read("SELECT * FROM users_like('shop', 'user 0', 3)")) == 3
    with shop.connect("owner") as conn:
        assert warehouse_vectors.missing(conn, (TASTES,)) == []


def test_a_likeness_is_of_directions_of_users() -> None:
    key = Column("user_key", "string", "Pseudonym.", privacy="pseudonym")
    with pytest.raises(ContractError, match=r"likeness by name: expected an array<double> and the key user_key"):
        Table("t", "One row.", ("name",), (key, Column("name", "string", ".")), likeness=Likeness("name", "like"))
