"""How long crm.users_like takes with many users, and what an index would cost each night.

    python -m bench.users_like USERS RUNS CALLS   (100000 2 100)

Makes an embedded server of its own, stages and publishes RUNS runs of USERS users with 32 random numbers each, asks
CALLS times for the ten nearest as the CRM's reader does, and makes an HNSW index once. All is removed at the end.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from rekindle import embedded, publication, settings, warehouse
from rekindle.ledger import Ledger, RunKey
from rekindle.methods import holdout
from schemas.user_vectors import USER_VECTORS

DAY, SOURCE, NUMBERS, SHARE = date(2026, 4, 30), "shop", 32, 0.05


def batch(users: int, seed: int) -> pa.RecordBatch:
    """So many users with random directions."""
    drawn = np.random.default_rng(seed).standard_normal((users, NUMBERS))
    drawn = np.round(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), 6)
    offsets = pa.array(np.arange(users + 1, dtype=np.int32) * NUMBERS)
    columns = [
        pa.array([f"k{n}" for n in range(users)]),
        pa.array([DAY] * users),
        pa.ListArray.from_arrays(offsets, pa.array(drawn.ravel())),
        pa.array(np.ones(users, dtype=np.int64)),
    ]
    return pa.record_batch(columns, names=USER_VECTORS.names)


def publish(environment: settings.Environment, users: int, number: int) -> float:
    """Seconds to stage one run, which is then served."""
    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    with warehouse.connect(environment, "writer") as conn:
        pairs = ((f"k{n}", f"user {n}") for n in range(users))
        warehouse.add_user_keys(conn, SOURCE, 1, pairs, lambda user_id: holdout.draw(b"bench", SOURCE, user_id))
    run = ledger.open_run(RunKey(f"run_{number}", SOURCE, DAY, "code", "conf", "ingest", 1, False), [], {})
    started = time.perf_counter()
    with warehouse.connect(environment, "writer") as conn:
        proof = publication.stage(conn, run, USER_VECTORS, [batch(users, number)])
        seconds = time.perf_counter() - started
        through = datetime(2026, 5, 1, tzinfo=UTC)
        publication.publish(conn, run, {USER_VECTORS.name: proof}, (USER_VECTORS,), through, SHARE)
    return seconds


def ask(environment: settings.Environment, users: int, calls: int) -> list[float]:
    """Milliseconds of each call: 50th percentile, 99th, and the longest."""
    took = []
    with warehouse.connect(environment, "crm_reader") as conn:
        for call in range(calls):
            started = time.perf_counter()
            conn.execute("SELECT * FROM users_like(%s, %s, 10)", [SOURCE, f"user {call * 37 % users}"]).fetchall()
            took.append(1000 * (time.perf_counter() - started))
    return [float(np.percentile(took, q)) for q in (50, 99, 100)]


def index(environment: settings.Environment) -> float:
    """Seconds that an HNSW index over all runs takes to be made."""
    with warehouse.connect(environment, "owner") as conn:
        conn.execute("SET LOCAL maintenance_work_mem = '512MB'")
        width = f"embedding::pgvector.vector({NUMBERS})"
        started = time.perf_counter()
        conn.execute(f"CREATE INDEX ON serve.user_vectors USING hnsw (({width}) pgvector.vector_ip_ops)")
        return time.perf_counter() - started


def main(argv: Sequence[str]) -> None:
    users, runs, calls = (int(given) for given in argv)
    home = Path(tempfile.mkdtemp(prefix="rekindle-bench-"))
    home.chmod(0o711)
    try:
        embedded.start(home)
        local = settings.load_environment("local")
        conf = local.warehouse.model_copy(update={"secrets": home / "secrets", "port": embedded.port(home)})
        environment = local.model_copy(update={"warehouse": conf})
        warehouse.migrate(environment, (USER_VECTORS,))
        staged = [publish(environment, users, number) for number in range(runs)]
        with warehouse.connect(environment, "owner") as conn:
            warehouse.analyse(conn, "serve", USER_VECTORS.name)
            warehouse.analyse(conn, "vault", "user_keys")
        half, late, longest = ask(environment, users, calls)
        told = f"{users} users, {runs} runs: staged in {max(staged):.1f} s; of {calls} calls 50 % within {half:.0f} ms,"
        sys.stdout.write(f"{told} 99 % within {late:.0f} ms, the longest {longest:.0f} ms\n")
        sys.stdout.write(f"an HNSW index over all of them takes {index(environment):.1f} s to be made\n")
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(sys.argv[1:])
