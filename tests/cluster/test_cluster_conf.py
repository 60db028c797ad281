"""What conf/environments/cluster.yaml asks of Spark, without starting any: it can be filled in, and tells no secret."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyspark.serializers import ChunkedStream

from rekindle import settings, spark_conf
from rekindle.methods.carried import AsBytes
from rekindle.settings import SettingsError
from tests.cluster.shop_night import Night, commands, rendered, secret_file

CLUSTER = settings.ROOT / "conf/environments/cluster.yaml"
MASTER = "spark://127.0.0.1:7077"


def filled_in(home: Path, master: str = MASTER) -> settings.Environment:
    text = rendered(CLUSTER.read_text(encoding="utf-8"), home, master, 5433)
    return settings.Environment.model_validate(yaml.safe_load(text))


def with_spark(environment: settings.Environment, **changed: object) -> settings.Environment:
    return environment.model_copy(update={"spark": environment.spark.model_copy(update=changed)})


def test_a_cluster_is_told_where_everything_is_and_no_secret(tmp_path: Path) -> None:
    environment = filled_in(tmp_path)
    for name in ("spark", "lake"):
        (tmp_path / "secrets").mkdir(exist_ok=True)
        secret_file(tmp_path / "secrets" / name, f"canary-{name}")
    told = spark_conf.arguments(environment)
    assert told[:4] == ["--master", MASTER, "--deploy-mode", "client"]
    given = dict(word.split("=", 1) for word in told if "=" in word)
    assert given["spark.sql.catalog.lake.uri"] == "jdbc:postgresql://127.0.0.1:5433/lake_catalog"
    assert given["spark.sql.catalog.lake.jdbc.user"] == "rekindle_lake"
    assert given["spark.executorEnv.PYTHONPATH"] == str(settings.ROOT), "executors find our functions"
    for switch in ("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled"):
        assert given[switch] == "true"
    assert not [word for word in told if "canary" in word or "password" in word or "authenticate.secret" in word]
    assert spark_conf.secret(environment.spark.secret_file or Path()) == "canary-spark"


def test_a_placeholder_that_nobody_fills_in_is_noticed(tmp_path: Path) -> None:
    text = CLUSTER.read_text(encoding="utf-8")
    with pytest.raises(AssertionError, match="<region> left to fill in"):
        rendered(text.replace("name: cluster", "name: <region>"), tmp_path, MASTER, 5433)
    with pytest.raises(AssertionError, match="which this test fills in"):
        rendered(text.replace("<master>", "my-master"), tmp_path, MASTER, 5433)


def test_a_standalone_cluster_that_authenticates_names_the_file_of_its_secret(tmp_path: Path) -> None:
    without = with_spark(filled_in(tmp_path), secret_file=None)
    with pytest.raises(SettingsError, match=r"spark\.authenticate is true and spark\.secret_file is missing"):
        spark_conf.conf(without)
    # YARN makes a secret for each application by itself.
    assert spark_conf.conf(with_spark(without, master="yarn"))["spark.authenticate"] == "true"


@pytest.mark.parametrize(
    "key", ["spark.authenticate.secret", "spark.ssl.keyPassword", "spark.hadoop.fs.s3a.secret.key", "spark.my.token"]
)
def test_a_secret_among_the_settings_of_spark_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    environment = filled_in(tmp_path)
    with pytest.raises(SettingsError) as refused:
        spark_conf.conf(with_spark(environment, conf=environment.spark.conf | {key: "canary"}))
    assert f"spark.conf holds {key}" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_secret_that_others_may_read_or_that_is_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spark"
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        spark_conf.secret(path)
    secret_file(path, "\n")
    with pytest.raises(SettingsError, match="0 characters, mode 600"):
        spark_conf.secret(path)
    path.write_text("canary")
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="mode 640") as refused:
        spark_conf.secret(path)
    assert "canary" not in str(refused.value)


def test_the_night_of_these_tests_is_the_one_that_the_dag_runs() -> None:
    told = commands("r0123456789abcdef")
    assert list(told)[:3] == ["land_simulated_day", "preflight_landing", "clean_events"]
    assert list(told)[-1] == "report_night"
    assert all(words[-1] == "cluster" or "--retrain" in words for words in told.values())
    assert Night.__doc__


def test_a_large_array_passes_the_stream_through_which_spark_encrypts() -> None:
    """PySpark's own stream cannot take it: a night with spark.io.encryption.enabled ended in train_recommender."""
    array = np.arange(100_000, dtype=np.int64)
    held = array.__reduce_ex__(5)[1][0]
    with pytest.raises(TypeError, match="has no len"):
        ChunkedStream(io.BytesIO(), 8192).write(held)
    out = io.BytesIO()
    AsBytes(ChunkedStream(out, 8192)).write(held)
    sent, frames = out.getvalue(), array.nbytes // 8192
    assert len(sent) == frames * (4 + 8192), "whole frames; the rest waits for the end"
    received = b"".join(sent[n * 8196 + 4 : (n + 1) * 8196] for n in range(frames))
    assert received == array.tobytes()[: frames * 8192]


def test_what_workers_are_to_hold_is_handed_over_in_one_place() -> None:
    """`SparkContext.broadcast` fails where Spark encrypts; rekindle/methods/carried.py has the one that does not."""
    found = [
        f"{path.relative_to(settings.ROOT)}:{node.lineno}"
        for folder in ("rekindle", "jobs", "expectations")
        for path in sorted((settings.ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "broadcast"
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "F")
    ]
    assert found == []
