"""MLflow shows what was trained; where it does not answer, nothing is lost and the night hears of it."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rekindle import registry, settings, tracking
from rekindle.ledger import Model, ModelDecision
from rekindle.registry import Comparison, Record

TOLD = Record(
    kind="recommender",
    name="als",
    source="shop",
    run_id="r1",
    trained_through=date(2026, 4, 23),
    judged_on="2026-04-24 to 2026-04-30",
    params={"rank": 32, "alpha": 2.0},
    metrics={"ndcg_at_10": 0.3, "coverage": 0.5},
    tables={"events": 2**62},
    comparisons=[Comparison("d0", "popularity", "ndcg_at_10", 0.3, 0.2, 0.1, 0.05, 0.15, 900, 0.5, 0.1, 0.4, 0.8)],
)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing sets variables of the process; here it sets those that make it give up at once."""
    monkeypatch.setattr(tracking, "PATIENCE", dict.fromkeys(tracking.PATIENCE, "1"))
    for name in (*tracking.PATIENCE, "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")


def environment(home: Path, uri: str) -> settings.Environment:
    mlflow = settings.MLflow(tracking_uri=uri, artifacts=str(home / "mlflow artifacts"))
    return settings.load_environment("local").model_copy(update={"mlflow": mlflow})


def trained(home: Path, record: Record, content: bytes = b"{}") -> Model:
    """A model in the registry, spooled as judging does it."""
    digest = registry.save(home / "artefacts", {"model.json": content, registry.RECORD: record.to_json()})
    path = str(home / "artefacts" / digest)
    model = Model("shop", "recommender", digest, path, record.metrics, record.trained_through, record.run_id)
    decision = ModelDecision("r1", "shop", "recommender", digest, record.name, "refused", "narrower")
    tracking.spool(home / "spool", model, "code1", decision)
    return model


def test_a_model_is_spooled_once_and_without_a_spool_mlflow_is_not_asked(tmp_path: Path) -> None:
    nowhere = environment(tmp_path, "http://127.0.0.1:1")
    assert tracking.flush(tmp_path / "spool", nowhere, "shop", {}) == {"logged": 0, "waiting": 0, "error": None}
    trained(tmp_path, TOLD)
    model = trained(tmp_path, TOLD)
    (spooled,) = (tmp_path / "spool").iterdir()
    assert json.loads(spooled.read_text()) == {
        "digest": model.digest, "path": model.path, "kind": "recommender", "code_version": "code1",
        "decision": "refused", "decision_reason": "narrower",
    }  # fmt: skip


def test_where_mlflow_does_not_answer_the_spool_stays_and_the_night_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        trained(tmp_path, TOLD)
        with caplog.at_level("WARNING"):
            found = tracking.flush(tmp_path / "spool", environment(tmp_path, uri), "shop", {})
    assert (found["logged"], found["waiting"]) == (0, 1)
    assert "127.0.0.1" in found["error"]
    assert "\n" not in found["error"]
    assert len(list((tmp_path / "spool").iterdir())) == 1
    assert "MLflow did not take everything logged=0 waiting=1" in caplog.text


def test_what_waited_is_logged_with_its_figures_and_the_champion_has_its_alias(tmp_path: Path) -> None:
    there = environment(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    baseline = trained(tmp_path, replace(TOLD, name="popularity", is_baseline=True, comparisons=[]), b"baseline")
    model = trained(tmp_path, TOLD)
    champions = {"recommender": model.digest}
    assert tracking.flush(tmp_path / "spool", there, "shop", champions) == {"logged": 2, "waiting": 0, "error": None}
    assert list((tmp_path / "spool").iterdir()) == []

    from mlflow import MlflowClient

    client = MlflowClient(there.mlflow.tracking_uri)
    experiment = client.get_experiment_by_name("shop-recommender")
    assert experiment is not None
    runs: dict[str, Any] = {r.data.tags["digest"]: r for r in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {model.digest, baseline.digest}
    run = runs[model.digest]
    assert run.data.params == {"rank": "32", "alpha": "2.0"}
    assert run.data.metrics == pytest.approx(
        TOLD.metrics
        | {f"ndcg_at_10_vs_popularity_{k}": v for k, v in {"difference": 0.1, "low": 0.05, "high": 0.15}.items()}
        | {"vs_popularity_coverage": 0.5, "vs_popularity_other_coverage": 0.1}
        | {"vs_popularity_overlap": 0.4, "vs_popularity_flip_rate": 0.8}
    )
    told = {"night": "r1", "code_version": "code1", "snapshot.events": str(2**62), "is_baseline": "false"}
    told |= {"decision": "refused", "decision_reason": "narrower"}
    assert told.items() <= run.data.tags.items()
    assert [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs] == [("shop.events", str(2**62))]
    assert sorted(Path(f.path).name for f in client.list_artifacts(run.info.run_id, "model")) == [
        "model.json",
        "record.json",
    ]
    assert run.info.status == "FINISHED"
    assert client.get_model_version_by_alias("shop-recommender", "champion").tags["digest"] == model.digest

    trained(tmp_path, replace(TOLD, run_id="r2"), b"other")
    champions = {"recommender": baseline.digest}
    assert tracking.flush(tmp_path / "spool", there, "shop", champions)["logged"] == 1
    assert client.get_model_version_by_alias("shop-recommender", "champion").tags["digest"] == baseline.digest

    # Rolled back in a night that trained nothing: the alias follows all the same, once.
    tracking.spool_champion(tmp_path / "spool", "shop", "recommender", model.digest)
    moved = {"recommender": model.digest}
    assert tracking.flush(tmp_path / "spool", there, "shop", moved) == {"logged": 0, "waiting": 0, "error": None}
    assert client.get_model_version_by_alias("shop-recommender", "champion").tags["digest"] == model.digest
    assert list((tmp_path / "spool").iterdir()) == []
