"""A name or an address in conf is what it should be or is refused when conf is read, in one line (F105)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rekindle import settings, spark_conf
from rekindle.contract import Changes, Column, ContractError, Table
from rekindle.lake import LakeError, qualified
from rekindle.settings import SettingsError
from tests.hostile_texts import IDENTIFIERS, aimed

SHOP, LOCAL = "sources/simulated_shop.yaml", "environments/local.yaml"
NAMES = aimed(IDENTIFIERS, "canary")
POSTGRES = "jdbc:postgresql://db:5432/lake"
OPTIONS = (
    *("autoDeserialize=true", "socketFactory=x.Y&socketFactoryArg=z", "loggerFile=/x", "sslfactory=x", "options=-c x"),
    *("sslmode=require&authenticationPluginClassName=x", "user=owner", "password=hidden", "auto%44eserialize=true", ""),
    *("sslmode=require;loggerFile=/x", "sslmode=%72equire", "sslmode", "SSLMODE=require", "sslrootcert=/../x\n"),
    *("sslmode=require?x=y", "sslmode=require&", "&", "sslmode=require#x", "enable_load_extension=true", "x"),
)  # fmt: skip
CATALOGS = (
    *(f"{POSTGRES}?{option}" for option in OPTIONS),
    *(f"jdbc:sqlite:/x.db?{option}" for option in ("busy_timeout=1;load", "busy_timeout=-1", "mode=ro", "x")),
    *(f"{POSTGRES}{more}" for more in ("#x", ";x=y", "\n?x", "/x", "\n", " ", "%00")),
    *("jdbc:postgresql://owner:hidden@db/lake", "jdbc:postgresql:///lake", "jdbc:postgresql:lake"),
    *("jdbc:postgresql://db/", 'jdbc:postgresql://db/La"ke', "jdbc:postgresql://d b/lake", "JDBC:postgresql://db/lake"),
    *("jdbc:sqlite::memory:", "jdbc:sqlite::resource:x", "jdbc:sqlite:file:/x.db", "jdbc:sqlite:x.db"),
    *("jdbc:sqlite:/x\n.db", "jdbc:sqlite:/x.db%00", "jdbc:mysql://db/x?autoDeserialize=true", "jdbc:db2://db/x"),
    *("jdbc:h2:mem:x;INIT=RUNSCRIPT", "jdbc:derby:x;create=true", "ldap://db/x", "rest:x", "", f" {POSTGRES}"),
)  # fmt: skip
TRACKING = (
    *("http://u:hidden@db:1", "http://db:1/?x=y", "http://db:1/#x", "http://db:1/a b", "http://", "http://db:1/\nx"),
    *("ftp://db/x", "databricks", "databricks://p", "uc:x", "plugin:x", "file:///x", "x", "", "<x>y"),
    *("sqlite:///x.db", "sqlite:////x.db?mode=ro", "sqlite+pysqlcipher:////x.db", "postgresql://u:hidden@db/x"),
    "mysql+pymysql://db/x?local_infile=1",
)  # fmt: skip


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """`changed(file, place, value)`: a copy of conf/ in which another value stands there; its root."""
    root = tmp_path / "root"
    shutil.copytree(settings.ROOT / "conf", root / "conf")

    def change(file: str, place: tuple[Any, ...], value: Any, is_key: bool = False) -> Path:
        content = yaml.safe_load((settings.ROOT / "conf" / file).read_text(encoding="utf-8"))
        here = content
        for key in place[:-1]:
            here = here[key]
        if is_key:
            here[value] = here.pop(place[-1])
        else:
            here[place[-1]] = value
        (root / "conf" / file).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return root

    return change


def told_of(root: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        settings.load("simulated_shop", "local", root)
    told = str(refused.value)
    assert told.startswith("conf/")
    assert "\n" not in told
    return told


def test_over_fifty_names_are_tried() -> None:
    assert len(NAMES) >= 50
    assert len(CATALOGS) + len(TRACKING) >= 50


PLACES = (
    (SHOP, ("name",), False),
    (SHOP, ("files", "events"), True),
    (SHOP, ("files", "events", "mapping", "repairs", 0, "id"), False),
    (SHOP, ("recommend", "methods", "als"), True),
    (SHOP, ("win_back", "actions", 0, "action"), False),
    (LOCAL, ("warehouse", "database"), False),
)


@pytest.mark.parametrize("at", range(len(PLACES)), ids=[".".join(map(str, place)) for _, place, _ in PLACES])
def test_a_name_in_conf_is_a_plain_name(changed: Callable[..., Path], at: int) -> None:
    """Each name is tried in one of the places: a file is read in 0.1 s."""
    file, place, is_key = PLACES[at]
    for name in NAMES[at :: len(PLACES)]:
        assert f"conf/{file}" in told_of(changed(file, place, name, is_key)), name


def test_a_name_in_a_contract_is_a_plain_name() -> None:
    column = Column("id", "string", "Id.")
    for name in NAMES:
        with pytest.raises(ContractError, match="lower case letters, digits and underscores"):
            Column(name, "string", "Text.")
        with pytest.raises(ContractError, match="lower case letters, digits and underscores"):
            Table(name, "One row per note.", ("id",), (column,))
        with pytest.raises(ContractError, match="is none of string"):
            Column("id", name, "Text.")  # type: ignore[arg-type]
        with pytest.raises(ContractError, match="not declared"):
            Table("notes", "One row per note.", (name,), (column,))
        with pytest.raises(ContractError, match="partition column"):
            Table("notes", "One row per note.", ("id",), (column,), partition_by=f"months({name})")
        with pytest.raises(ContractError, match="not declared"):
            Table("notes", "One row per note.", ("id",), (column,), changes=Changes(name, name, name))
        with pytest.raises(LakeError, match="is not an identifier"):
            qualified(name, Table("notes", "One row per note.", ("id",), (column,)))


@pytest.mark.parametrize("uri", CATALOGS)
def test_nothing_rides_along_in_the_lakes_address(uri: str) -> None:
    lake = settings.load_environment("local").lake.model_dump()
    with pytest.raises(ValueError, match="catalog_uri"):
        settings.Lake(**lake | {"catalog_uri": uri})


@pytest.mark.parametrize("uri", TRACKING)
def test_nothing_rides_along_in_mlflows_address(uri: str) -> None:
    with pytest.raises(ValueError, match="tracking_uri"):
        settings.MLflow(tracking_uri=uri, artifacts="x")


def test_addresses_that_are_legal_stay_legal() -> None:
    lake = settings.load_environment("local").lake.model_dump()
    for uri in (
        f"{POSTGRES}?sslmode=verify-full&sslrootcert=/etc/ssl/db-1.crt&connectTimeout=10",
        *("jdbc:postgresql://10.0.0.1/lake_catalog", "jdbc:postgresql://a:1,b.c-d:2/lake?targetServerType=primary"),
        *("jdbc:postgresql://[::1]:5432/lake", "jdbc:sqlite:/home of/it's/catalog.db?busy_timeout=30000"),
    ):
        assert settings.Lake(**lake | {"catalog_uri": uri}).catalog_uri == uri
    for uri in ("http://127.0.0.1:5000", "https://mlflow.shop.internal/base/", "sqlite:////x/mlflow.db"):
        assert settings.MLflow(tracking_uri=uri, artifacts="x").tracking_uri == uri


def test_a_refused_address_is_told_by_place_and_not_repeated(changed: Callable[..., Path]) -> None:
    """People write passwords into addresses, and a refusal is logged."""
    told = told_of(changed(LOCAL, ("lake", "catalog_uri"), f"{POSTGRES}?password=hidden&autoDeserialize=true"))
    assert "lake.catalog_uri: option 'password' is not allowed; legal: busy_timeout, sslmode, " in told
    assert "option 'autoDeserialize' is not allowed" in told
    assert "hidden" not in told
    assert "hidden" not in told_of(changed(LOCAL, ("mlflow", "tracking_uri"), "http://u:hidden@db:1"))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spark", "master"), "local[2]\n--conf\nspark.x=y"),
        (("spark", "conf", "spark.driver.memory"), "1g\n--jars\n/x.jar"),
        (("spark", "conf", "spark.driver.memory"), "1g\r--jars"),
        (("spark", "conf", "spark.driver.memory"), "1g\u2028x"),
        (("spark", "conf", "spark.x\n--jars"), "y"),
        (("spark", "conf", "--jars"), "/x.jar"),
        (("spark", "conf", "spark.x=y --jars"), "/x.jar"),
        (("lake", "warehouse"), "/x\n--jars"),
        (("lake", "user"), "x\ny"),
        (("warehouse", "host"), "db user=owner"),
        (("warehouse", "host"), "/var/run"),
        (("warehouse", "host"), "db,evil"),
        (("warehouse", "host"), "-db"),
        (("warehouse", "port"), "5432 user=owner"),
    ],
)
def test_a_setting_is_one_setting(changed: Callable[..., Path], place: tuple[str, ...], value: str) -> None:
    assert ".".join(place[:2]) in told_of(changed(LOCAL, place, value))


def test_each_setting_is_one_argument_of_spark_submit() -> None:
    arguments = spark_conf.arguments(settings.load_environment("local"))
    assert [word for word in arguments if "\n" in word] == []
    assert [
        word
        for word in arguments
        if word.startswith("-") and word not in ("--master", "--deploy-mode", "--jars", "--conf")
    ] == []
