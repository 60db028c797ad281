"""Additive contract changes in a lake that exists: columns that a contract has and its table has not. Without Spark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rekindle import settings
from rekindle.contract import Table
from rekindle.spark_conf import CATALOG, secret

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.types import IcebergType

JDBC_DRIVERS = {"jdbc:sqlite:": "sqlite:///", "jdbc:postgresql:": "postgresql+psycopg:"}


def add_columns(environment: settings.Environment, tables: Sequence[Table]) -> list[str]:
    """The columns that were added, as `source.table.column`; older rows have null there. A second time adds nothing.

    Raises:
        SettingsError: the catalog is none of those that can be reached from here.
    """
    if not _exists(environment):
        return []
    catalog = _catalog(environment)
    added = []
    for namespace in catalog.list_namespaces():
        there = {name[-1] for name in catalog.list_tables(namespace)}
        for table in (t for t in tables if t.name in there):
            loaded = catalog.load_table((*namespace, table.name))
            missing = [c for c in table.columns if c.name not in loaded.schema().column_names]
            if missing:
                with loaded.update_schema() as change:
                    for column in missing:
                        change.add_column(column.name, _type(column.type), column.meaning)
            added += [f"{'.'.join(namespace)}.{table.name}.{c.name}" for c in missing]
    return added


def _catalog(environment: settings.Environment) -> SqlCatalog:
    from pyiceberg.catalog.sql import SqlCatalog

    uri = environment.lake.catalog_uri
    for jdbc, prefix in JDBC_DRIVERS.items():
        if uri.startswith(jdbc):
            address = prefix + uri.removeprefix(jdbc).split("?")[0]
            break
    else:
        raise settings.SettingsError(
            f"lake.catalog_uri of {environment.name}: cannot add columns through it;"
            f" expected it to start with {' or '.join(JDBC_DRIVERS)}; add them by ALTER TABLE in a Spark session"
        )
    if environment.lake.user and environment.lake.password_file:
        password = secret(environment.lake.password_file)
        who = f"{quote(environment.lake.user, safe='')}:{quote(password, safe='')}"
        address = address.replace("//", f"//{who}@", 1)
    return SqlCatalog(CATALOG, uri=address, warehouse=environment.lake.warehouse, init_catalog_tables="false")


def _exists(environment: settings.Environment) -> bool:
    """Whether a catalog is there at all: before the first night a local one is not."""
    uri = environment.lake.catalog_uri
    return not uri.startswith("jdbc:sqlite:") or Path(uri.removeprefix("jdbc:sqlite:").split("?")[0]).exists()


def _type(name: str) -> IcebergType:
    from pyiceberg import types

    if name.startswith("array<"):
        return types.ListType(element_id=0, element=_type(name[6:-1]), element_required=False)
    return {
        "string": types.StringType(),
        "boolean": types.BooleanType(),
        "int": types.IntegerType(),
        "bigint": types.LongType(),
        "double": types.DoubleType(),
        "date": types.DateType(),
        "timestamp": types.TimestamptzType(),
    }[name]
