"""What must hold in every Spark session holds, whatever an environment's conf says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rekindle import settings, spark_conf
from rekindle.settings import SettingsError


def with_conf(**conf: str) -> settings.Environment:
    local = settings.load_environment("local")
    spark = local.spark.model_copy(update={"conf": {k.replace("__", "."): v for k, v in conf.items()}})
    return local.model_copy(update={"spark": spark})


def test_every_environment_gets_what_must_hold_and_its_own_lake() -> None:
    for name in settings.environment_names():
        environment = settings.load_environment(name)
        found = spark_conf.conf(environment)
        assert spark_conf.REQUIRED.items() <= found.items()
        for key, value in environment.spark.conf.items():
            assert value in found[key], f"{key}: what an environment asks for is there, perhaps with ours beside it"
        assert found["spark.sql.catalog.lake.uri"] == environment.lake.catalog_uri
        assert found["spark.sql.catalog.lake.warehouse"] == environment.lake.warehouse
        assert (found["spark.sql.session.timeZone"], found["spark.sql.ansi.enabled"]) == ("UTC", "true")


def test_an_environment_may_set_its_own_and_not_undo_what_must_hold() -> None:
    assert spark_conf.conf(with_conf(spark__ui__enabled="true"))["spark.ui.enabled"] == "true"
    assert spark_conf.conf(with_conf(spark__speculation="false"))["spark.speculation"] == "false"
    with pytest.raises(SettingsError) as refused:
        spark_conf.conf(with_conf(spark__speculation="true", spark__sql__ansi__enabled="false"))
    assert str(refused.value) == (
        "conf/environments/local.yaml: spark.conf may not change spark.speculation, spark.sql.ansi.enabled;"
        " required: spark.speculation=false, spark.sql.ansi.enabled=true"
    )


def test_the_arguments_are_one_a_line_and_hold_no_secret(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rekindle.spark_conf"]
    done = subprocess.run([*command, "cluster"], capture_output=True, text=True, cwd=settings.ROOT)
    lines = done.stdout.splitlines()
    assert lines[:4] == ["--master", "spark://<master>:7077", "--deploy-mode", "client"]
    assert lines[6::2] == ["--conf"] * len(lines[6::2])
    assert all("=" in line for line in lines[7::2])
    assert "password" not in done.stdout
    wrong = subprocess.run([*command, "prod"], capture_output=True, text=True, cwd=settings.ROOT)
    assert (wrong.returncode, wrong.stderr) == (1, "ENVIRONMENT='prod' is unknown; legal values: cluster, local\n")


def test_reading_the_settings_imports_no_spark() -> None:
    code = "import sys, rekindle.spark_conf, schemas.catalogue; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=settings.ROOT).returncode == 0
