"""What the ledger holds, as frozen rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Literal

from rekindle.fingerprint import Fingerprint
from rekindle.methods.comparison import Comparison

FileStatus = Literal["accepted", "refused"]
RunStatus = Literal["open", "failed", "published", "stored_older", "nothing_landed"]
ModelKind = Literal["recommender", "churn"]
MODEL_KINDS: tuple[ModelKind, ...] = ("recommender", "churn")
ModelStatus = Literal["candidate", "champion", "refused", "retired", "withdrawn"]
Verdict = Literal["promoted", "kept", "refused", "baseline", "rolled_back"]


@dataclass(frozen=True)
class LandedFile:
    """A file that landed. Lines count a header; refused ones say why (`duplicate_delivery: <name>` among others).

    `kind` is its name in the source's `files`, "" where its name is of none (or of several). `columns` are the names
    found in it, in file order (JSON: the sorted keys of a sample of lines); none where it is refused or has no names.
    """

    name: str
    landing_date: date
    sha256: str
    size_bytes: int
    mtime_ns: int
    lines: int
    header_lines: int
    status: FileStatus
    reason: str | None = None
    kind: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunKey:
    """What the run id is a hash of, the files apart."""

    run_id: str
    source: str
    business_date: date
    code_version: str
    conf_fingerprint: str
    ingest_version: str
    key_version: int
    retrain: bool


@dataclass(frozen=True)
class Run:
    """A night. `attempt` is the fence: only its newest attempt may publish. `published_at` is null until it is."""

    run_id: str
    source: str
    business_date: date
    code_version: str
    conf_fingerprint: str
    ingest_version: str
    key_version: int
    retrain: bool
    attempt: int
    status: RunStatus
    message: str | None
    plan: dict[str, Any]
    published_at: datetime | None


@dataclass(frozen=True)
class TableVersion:
    """A table as the run made it: its lake snapshot, what is in it, and whether the checks let it pass."""

    table: str
    snapshot_id: int
    metadata_location: str
    fingerprint: Fingerprint
    accepted: bool = False


@dataclass(frozen=True)
class FileFate:
    """What became of a file's lines; landed = clean + duplicate + quarantined, a header not counted."""

    file_sha256: str
    landed: int
    clean: int
    duplicate: int
    quarantined: int


@dataclass(frozen=True)
class CheckRecord:
    """A check's result. `unexpected_rows` is null where a check is not about rows."""

    table: str
    check_id: str
    severity: str
    success: bool
    expected: str
    found: str
    unexpected_rows: int | None = None


@dataclass(frozen=True)
class StageRecord:
    """One try of one stage. `seconds` (PostgreSQL's clock) is null while it runs or when it died without a word."""

    name: str
    attempt: int
    status: Literal["running", "done", "failed"]
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    detail: dict[str, Any]


@dataclass(frozen=True)
class Served:
    """The run that the CRM's views show."""

    run_id: str
    business_date: date
    published_at: datetime
    data_through: datetime


@dataclass(frozen=True)
class Publication:
    """One entry of a source's history, newest first in `Ledger.history`."""

    run_id: str
    business_date: date
    data_through: datetime
    published_at: datetime
    status: Literal["served", "stored_older"]
    is_served: bool


@dataclass(frozen=True)
class Model:
    """A registered model, known by the digest of its artefact; `trained_through` is the last day it learnt from."""

    source: str
    kind: ModelKind
    digest: str
    path: str
    metrics: dict[str, Any]
    trained_through: date
    run_id: str
    status: ModelStatus = "candidate"
    method: str = field(default="")


@dataclass(frozen=True)
class ModelDecision:
    """What was decided of a model, by what evidence: one row a run, model and other model it was compared with.

    `decision`: promoted (it is champion from now on), kept (it was champion and stays), refused (it does not take
    over), baseline (it stood beside as the measure), rolled_back (an operator made it champion; `run_id` is null and
    `decided_by` says who). The figures are those of `registry.Comparison`, null where the model was compared with none
    or a figure does not apply.
    """

    run_id: str | None
    source: str
    kind: ModelKind
    digest: str
    method: str
    decision: Verdict
    reason: str
    against: str | None = None
    against_method: str | None = None
    metric: str | None = None
    value: float | None = None
    against_value: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    judged_rows: int | None = None
    coverage: float | None = None
    against_coverage: float | None = None
    overlap: float | None = None
    flip_rate: float | None = None
    list_flip_rate: float | None = None
    decided_by: str | None = None


def with_figures(decision: ModelDecision, against: Comparison) -> ModelDecision:
    """The decision with the evidence of one comparison."""
    return replace(
        decision,
        against=against.other,
        against_method=against.other_name,
        metric=against.metric,
        value=against.candidate_value,
        against_value=against.other_value,
        difference=against.difference,
        low=against.low,
        high=against.high,
        judged_rows=against.rows,
        coverage=against.coverage,
        against_coverage=against.other_coverage,
        overlap=against.overlap,
        flip_rate=against.flip_rate,
        list_flip_rate=against.list_flip_rate,
    )
