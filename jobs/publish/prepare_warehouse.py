"""Make the secrets, start the embedded server where there is one, and bring the warehouse up to the contracts.

Reads   schemas
Writes  the warehouse's roles, tables and views; with --replace-views the lake's new columns

A manual job: `make setup` and `make migrate` call it, no DAG does. Safe at any time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rekindle import embedded, identity, lake_schema, settings, warehouse, warehouse_vectors
from schemas.catalogue import LAKE, SERVED


def prepare(environment: settings.Environment, replace_views: bool) -> None:
    """Everything that has to be there before the first night; what exists is left as it is."""
    if environment.warehouse.embedded:
        identity.make_key(environment.identity.key_file)
        identity.make_key(environment.identity.holdout_salt_file)
        for folder in (Path(environment.lake.warehouse), environment.lake.bronze, environment.lake.artefacts):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    warehouse.prepare(environment, SERVED, replace_views)
    if replace_views:
        with warehouse.connect(environment, "owner", "rekindle migrate") as conn:
            for told in warehouse_vectors.missing(conn, SERVED):
                sys.stdout.write(f"warehouse: {told}\n")
        for column in lake_schema.add_columns(environment, LAKE):
            sys.stdout.write(f"lake: added {column}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="prepare_warehouse", allow_abbrev=False)
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    parser.add_argument("--replace-views", action="store_true", help="apply additive contract changes (make migrate)")
    given = parser.parse_args()
    try:
        prepare(settings.load_environment(given.env), given.replace_views)
    except (settings.SettingsError, warehouse.WarehouseError, embedded.EmbeddedError) as error:
        sys.exit(f"error: {error}")
