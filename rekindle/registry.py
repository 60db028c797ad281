"""Models: artefacts that lie content-addressed in the lake, offered by training, promoted by judging.

An artefact is a handful of named files (JSON, XGBoost's UBJ, NumPy arrays without objects; never pickle). Its digest
is over their names and contents, is checked on every load, and is the model version in every scored row. Which
digest serves is PostgreSQL's to say (`rekindle.ledger`); MLflow shows it to people.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from rekindle.failpoints import failpoint
from rekindle.methods.comparison import Comparison

__all__ = ["JUDGED", "RECORD", "Comparison", "Record", "RegistryError", "digest_of", "load", "record_of", "save"]

RECORD = "record.json"
DIGEST = re.compile(r"[0-9a-f]{16}")
JUDGED = "judged.json"  # the table of a training, seconds included


class RegistryError(Exception):
    """An artefact is missing or is not what its digest says."""


@dataclass(frozen=True)
class Record:
    """What a training run has to say: kept with the artefact, shown in MLflow, read by judging.

    `metrics` are figures of this model on the judging slice; `tables` maps lake tables to the snapshots used.
    """

    kind: str
    name: str
    source: str
    run_id: str
    trained_through: date
    judged_on: str
    params: dict[str, str | int | float]
    metrics: dict[str, float]
    tables: dict[str, int]
    is_baseline: bool = False
    comparisons: list[Comparison] = field(default_factory=list)

    def to_json(self) -> bytes:
        """The record as JSON, keys sorted."""
        return json.dumps(asdict(self), default=str, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """The record that `to_json` wrote."""
        told = json.loads(text)
        told["trained_through"] = date.fromisoformat(told["trained_through"])
        told["comparisons"] = [Comparison.from_told(c) for c in told["comparisons"]]
        return cls(**told)


def digest_of(files: Mapping[str, bytes]) -> str:
    """The artefact's digest: 16 hex digits over the sorted names and contents."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return whole.hexdigest()[:16]


def _model_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    beside = (RECORD, JUDGED)
    return {k: v for k, v in files.items() if k not in beside and not k.endswith(".png") and not k.startswith(".")}


def save(artefacts: Path, files: Mapping[str, bytes]) -> str:
    """Store the files under their digest and return it; an artefact that is already there and whole stays.

    Record, table and pictures are kept beside the model and are no part of its digest: the same model judged twice is
    one model, with what was last found of it. An artefact whose content no longer fits its digest is replaced.
    """
    digest = digest_of(_model_files(files))
    target = artefacts / digest
    if target.exists():
        if digest_of(_model_files({p.name: p.read_bytes() for p in target.iterdir()})) == digest:
            for name in files.keys() - _model_files(files).keys():
                part = target / f".part-{name}"
                part.write_bytes(files[name])
                part.replace(target / name)
            return digest
        shutil.rmtree(target)
    part = artefacts / f".part-{digest}-{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, content in files.items():
        (part / name).write_bytes(content)
    failpoint("registry.before_rename")
    try:
        part.rename(target)
    except OSError:
        if not target.exists():
            raise
        shutil.rmtree(part)  # another attempt stored the same content first
    failpoint("registry.after_rename")
    return digest


def load(artefacts: Path, digest: str) -> dict[str, bytes]:
    """The model's files, by name.

    Raises:
        RegistryError: no such artefact, or its content is not what the digest says.
    """
    folder = artefacts / digest
    if not DIGEST.fullmatch(digest) or not folder.is_dir():
        raise RegistryError(f"model {digest}: no artefact in {artefacts}; restore it or train anew (retrain)")
    every = {p.name: p.read_bytes() for p in sorted(folder.iterdir())}
    found = digest_of(_model_files(every))
    if found != digest:
        raise RegistryError(f"model {digest}: its files have digest {found}; restore them or train anew (retrain)")
    return every


def record_of(artefacts: Path, digest: str) -> Record:
    """The training record kept with an artefact."""
    return Record.from_json((artefacts / digest / RECORD).read_bytes())
