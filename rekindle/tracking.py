"""MLflow as a mirror: training runs are spooled to disk first and logged from there, so that MLflow delays nothing.

A spooled run is one small JSON file that names the artefact. `flush` logs what is spooled and removes it; what MLflow
does not take stays for the next night.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekindle import registry
from rekindle.ledger import MODEL_KINDS, Model, ModelDecision
from rekindle.settings import Environment

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("tracking")

# A server that does not answer is given up after about a minute, not after the default's several.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "15", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
LONGEST_TAG = 5000  # characters; MLflow refuses more


def spool(folder: Path, model: Model, code_version: str, decision: ModelDecision | None = None) -> None:
    """Remember that this trained model, and what was decided of it, is to be shown; a model of a run once."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"digest": model.digest, "path": model.path, "kind": model.kind, "code_version": code_version}
    if decision is not None:
        told |= {"decision": decision.decision, "decision_reason": decision.reason}
    part = folder / f".{model.run_id}-{model.digest}.part"
    part.write_text(json.dumps(told, sort_keys=True), encoding="utf-8")
    part.replace(folder / f"{model.run_id}-{model.digest}.json")


def spool_champion(folder: Path, source: str, kind: str, digest: str) -> None:
    """Remember that the alias is to follow a champion that changed although nothing was trained."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".champion-{source}-{kind}.part"
    part.write_text(digest, encoding="utf-8")
    part.replace(folder / f"champion-{source}-{kind}.txt")


def flush(folder: Path, environment: Environment, source: str, champions: dict[str, str]) -> dict[str, Any]:
    """Log every spooled run and mirror the champions: {"logged": n, "waiting": m, "error": why or None}."""
    waiting = sorted(folder.glob("r*.json")) if folder.is_dir() else []
    moved = [folder / f"champion-{source}-{kind}.txt" for kind in MODEL_KINDS]
    moved = [path for path in moved if path.exists()]
    if not waiting and not moved:
        return {"logged": 0, "waiting": 0, "error": None}
    os.environ.update(PATIENCE)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # The one place that imports MLflow: it costs seconds, and only nights that trained pay them.
    import mlflow
    from mlflow import MlflowClient

    logged = 0
    try:
        mlflow.set_tracking_uri(environment.mlflow.tracking_uri)
        client = MlflowClient(environment.mlflow.tracking_uri)
        for path in waiting:
            _log(client, environment, source, json.loads(path.read_text(encoding="utf-8")))
            path.unlink()
            logged += 1
        for kind, digest in champions.items():
            _mirror(client, f"{source}-{kind}", digest)
        for path in moved:
            path.unlink()
    except (mlflow.exceptions.MlflowException, OSError) as error:
        # Publication does not depend on MLflow: what is not logged stays spooled, and the night's report says so.
        told = " ".join(str(error).split())
        log.warning("MLflow did not take everything logged=%d waiting=%d: %s", logged, len(waiting) - logged, told)
        return {"logged": logged, "waiting": len(waiting) - logged, "error": told}
    return {"logged": logged, "waiting": 0, "error": None}


def _log(client: MlflowClient, environment: Environment, source: str, told: dict[str, str]) -> None:
    """One MLflow run for one trained model, its version in the model registry included."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

    record = registry.record_of(Path(told["path"]).parent, told["digest"])
    name = f"{source}-{told['kind']}"
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name, environment.mlflow.artifacts)
    run = client.create_run(number, run_name=f"{record.name} {record.judged_on} {told['digest'][:8]}")
    run_id = run.info.run_id
    metrics = dict(record.metrics)
    for c in record.comparisons:
        for key in ("difference", "low", "high"):
            metrics[f"{c.metric}_vs_{c.other_name}_{key}"] = getattr(c, key)
        for key in ("coverage", "other_coverage", "overlap", "flip_rate", "list_flip_rate"):
            if getattr(c, key) is not None:
                metrics[f"vs_{c.other_name}_{key}"] = getattr(c, key)
    tags = {
        "digest": told["digest"],
        "code_version": told["code_version"],
        "night": record.run_id,
        "judged_on": record.judged_on,
        "trained_through": str(record.trained_through),
        "is_baseline": str(record.is_baseline).lower(),
    }
    tags |= {key: told[key][:LONGEST_TAG] for key in ("decision", "decision_reason") if key in told}
    tags |= {f"snapshot.{table}": str(snapshot) for table, snapshot in record.tables.items()}
    client.log_batch(
        run_id,
        metrics=[Metric(k, v, 0, 0) for k, v in metrics.items()],
        params=[Param(k, str(v)) for k, v in record.params.items()],
        tags=[RunTag(k, v) for k, v in tags.items()],
    )
    datasets = [
        DatasetInput(Dataset(f"{source}.{table}", str(snapshot), "iceberg", json.dumps({"snapshot_id": snapshot})), [])
        for table, snapshot in record.tables.items()
    ]
    client.log_inputs(run_id, datasets)
    client.log_artifacts(run_id, told["path"], "model")
    client.set_terminated(run_id, "FINISHED")
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id, tags={"digest": told["digest"]})


def _mirror(client: MlflowClient, name: str, digest: str) -> None:
    """Let the alias `champion` point at the version with that digest, where MLflow has it."""
    found = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get("digest") == digest]
    if found:
        client.set_registered_model_alias(name, "champion", max(found, key=lambda v: int(v.version)).version)
