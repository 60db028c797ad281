"""Settings: one frozen, strict object from conf/, and the places where state lives.

An unknown key, a wrong type or an unknown source is one line that names the file, the key and the legal values.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class SettingsError(Exception):
    """Something in conf/ or on the command line is not legal: what was found, where, and what is legal."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _zone(name: str) -> str:
    if name not in available_timezones():
        near = difflib.get_close_matches(name, available_timezones(), 1)
        raise ValueError(f"unknown time zone {name!r}" + (f", did you mean {near[0]}?" if near else ""))
    return name


TimeZone = Annotated[str, AfterValidator(_zone)]
Days = Annotated[int, Field(ge=1)]


class Landing(Strict):
    """Which files of the landing folder are the source's, and what a day without one means."""

    pattern: str
    on_missing_day: Literal["refuse", "accept"]

    @model_validator(mode="after")
    def _names_the_date(self) -> Landing:
        if "(?P<date>" not in self.pattern:
            raise ValueError("the pattern must capture the landing date as (?P<date>…)")
        return self


class LogFormat(Strict):
    """How a line is written. `fields` are the names by which expressions mean them."""

    kind: Literal["json_lines", "csv"]
    fields: tuple[str, ...]
    delimiter: str = ","
    header: bool = False


class EventId(Strict):
    """The event's id: the source's own column, or a hash of the columns that make an event the same event."""

    column: str | None = None
    hash_of: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _exactly_one(self) -> EventId:
        if bool(self.column) == bool(self.hash_of):
            raise ValueError("give either column or hash_of")
        return self


class EventTime(Strict):
    """Where the time stands and how it is written: Spark's pattern; without an offset in it, it is shop time."""

    expression: str
    format: str
    has_offset: bool


class Rule(Strict):
    """A source's own reason to quarantine a line; `when` is a Spark SQL condition, the first that holds counts."""

    id: Annotated[str, Field(pattern=NAME.pattern)]
    when: str
    reason: str


class Repair(Strict):
    """A mending that the mapping's expressions make, counted on the lines where `when` holds."""

    id: Annotated[str, Field(pattern=NAME.pattern)]
    when: str


class Mapping(Strict):
    """From the shop's fields to canonical columns, as Spark SQL expressions over text columns."""

    event_id: EventId
    event_time: EventTime
    event_type: str
    event_types: dict[str, str]
    user_id: str
    item_id: str = "NULL"
    title: str = "NULL"
    category: str = "NULL"
    order_id: str = "NULL"
    quantity: str = "NULL"
    unit_price: str = "NULL"
    stars: str = "NULL"
    text: str = "NULL"
    session_id: str = "NULL"
    denied_user_ids: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    repairs: tuple[Repair, ...] = ()


class Churn(Strict):
    """Churned at t := no purchase in (t+gap, t+gap+horizon]; who is eligible; the sliding training cut-offs."""

    horizon_days: Days
    gap_days: Annotated[int, Field(ge=0)]
    eligibility_days: Days
    history_days: Days
    cutoff_step_days: Days
    training_cutoffs: Days


class Recommend(Strict):
    """Weights of events as implicit feedback, how they age, and the split that judges."""

    event_weights: dict[str, float]
    half_life_days: Annotated[float, Field(gt=0)]
    judge_days: Days
    popularity_days: Days
    catalogue_days: Days
    rank: Days
    iterations: Days
    regularisation: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(gt=0)]
    durable_categories: tuple[str, ...] = ()


class Source(Strict):
    """One shop's log format and the numbers that depend on the shop."""

    name: Annotated[str, Field(pattern=NAME.pattern)]
    description: str
    simulated: bool = False
    time_zone: TimeZone
    currency: str
    first_date: date
    first_night: date | None = None
    landing: Landing
    quarantine_share_limit: Annotated[float, Field(gt=0, le=1)]
    format: LogFormat
    mapping: Mapping
    churn: Churn
    recommend: Recommend

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone: business days are its local calendar days."""
        return ZoneInfo(self.time_zone)


class RiskBands(Strict):
    """Lowest probability of each band above `low`; `at_risk_from` decides `is_at_risk`."""

    medium: Annotated[float, Field(gt=0, lt=1)]
    high: Annotated[float, Field(gt=0, lt=1)]
    critical: Annotated[float, Field(gt=0, lt=1)]
    at_risk_from: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _rising(self) -> RiskBands:
        if not self.medium < self.high < self.critical:
            raise ValueError("the cut points must rise: medium < high < critical")
        return self


class Business(Strict):
    """The numbers that the business, not a programmer, changes."""

    list_length: Annotated[int, Field(ge=1, le=100)]
    risk_bands: RiskBands
    kept_runs: Annotated[int, Field(ge=2)]
    night_tag_days: Days
    bootstrap_draws: Annotated[int, Field(ge=100)]
    seed: int


class Spark(Strict):
    """How spark-submit is called."""

    master: str
    deploy_mode: Literal["client", "cluster"] = "client"
    conf: dict[str, str] = {}


class Lake(Strict):
    """The Iceberg catalog and where its files are. `password_file` is read by the session, never put in argv."""

    catalog_uri: str
    warehouse: str
    user: str | None = None
    password_file: Path | None = None
    bronze: Path
    artefacts: Path


class Warehouse(Strict):
    """PostgreSQL. Embedded: a server of our own on loopback, its port kept in the state folder."""

    embedded: bool
    host: str
    port: int | None = None
    database: Annotated[str, Field(pattern=NAME.pattern)]
    secrets: Path


class MLflow(Strict):
    """Where training runs are logged."""

    tracking_uri: str
    artifacts: str


class Identity(Strict):
    """The secret that makes pseudonyms, and its version."""

    key_file: Path
    key_version: Annotated[int, Field(ge=1)]


class Environment(Strict):
    """Where things run. `{home}` in a value is the state folder."""

    name: str
    spark: Spark
    lake: Lake
    warehouse: Warehouse
    mlflow: MLflow
    identity: Identity


class Settings(BaseModel):
    """Everything a job may ask for; built once, by `load`."""

    model_config = ConfigDict(frozen=True)

    root: Path
    home: Path
    environment: Environment
    source: Source
    business: Business

    @property
    def landing(self) -> Path:
        """The folder where the source's files land; it may be a link that `make nightly LANDING=…` set."""
        return self.home / "landing" / self.source.name

    @cached_property
    def conf_fingerprint(self) -> str:
        """Digest of all that conf says about this source: part of the run id."""
        told = self.source.model_dump_json() + self.business.model_dump_json()
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @cached_property
    def code_version(self) -> str:
        """Digest of the code that decides what comes out: part of the run id, in a clone or an installed wheel."""
        return digest_of_code(self.root, "rekindle", "schemas", "expectations", "jobs")

    @cached_property
    def ingest_version(self) -> str:
        """Digest of what decides a line's fate: a night builds only on nights that cleaned by the same."""
        told = self.source.model_dump_json(include={"name", "time_zone", "format", "mapping"})
        code = digest_of_code(
            self.root, "jobs/ingest/clean_events.py", "schemas/events.py", "rekindle/landing_lines.py"
        )
        key = self.environment.identity.key_version
        return hashlib.sha256(f"{told} {code} {key}".encode()).hexdigest()[:16]

    def as_of(self, business_date: date) -> date:
        """The first local day that the night of `business_date` may not look at."""
        return business_date + timedelta(days=1)


def digest_of_code(root: Path, *parts: str) -> str:
    """Digest over the Python files at or under `parts` of `root`, names and contents."""
    digest = hashlib.sha256()
    for part in parts:
        top = root / part
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def home() -> Path:
    """The folder of all state of this machine's default: REKINDLE_HOME, else var/ beside the code."""
    return Path(os.environ.get("REKINDLE_HOME") or ROOT / "var").resolve()


def conf_folder(root: Path = ROOT) -> Path:
    """The folder of conf files: REKINDLE_CONF, where an installation keeps its own, else conf/ beside the code."""
    own = os.environ.get("REKINDLE_CONF")
    return Path(own).resolve() if own and root == ROOT else root / "conf"


def source_names(root: Path = ROOT) -> list[str]:
    """The sources there is a mapping for."""
    return sorted(p.stem for p in (conf_folder(root) / "sources").glob("*.yaml"))


def environment_names(root: Path = ROOT) -> list[str]:
    """The environments there is a conf for."""
    return sorted(p.stem for p in (conf_folder(root) / "environments").glob("*.yaml"))


def load_environment(name: str = "local", root: Path = ROOT) -> Environment:
    """The environment by that name.

    Raises:
        SettingsError: there is none, or its file is not legal.
    """
    path = _choice("environment", name, conf_folder(root) / "environments")
    text = path.read_text(encoding="utf-8").replace("{home}", str(home()))
    return Environment.model_validate(_parsed(path, text, Environment))


def load(source: str, environment: str = "local", root: Path = ROOT) -> Settings:
    """Settings for one source in one environment.

    Raises:
        SettingsError: an unknown source or environment, an unknown key, a value that is not legal.
    """
    path = _choice("source", source, conf_folder(root) / "sources")
    business = conf_folder(root) / "business.yaml"
    return Settings(
        root=root,
        home=home(),
        environment=load_environment(environment, root),
        source=Source.model_validate(_parsed(path, path.read_text(encoding="utf-8"), Source)),
        business=Business.model_validate(_parsed(business, business.read_text(encoding="utf-8"), Business)),
    )


def parse_date(text: str) -> date:
    """A business date.

    Raises:
        SettingsError: not YYYY-MM-DD.
    """
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"DATE={text!r} is not a calendar day; expected YYYY-MM-DD, as in 2026-04-30") from None


def _choice(what: str, name: str, folder: Path) -> Path:
    names = sorted(p.stem for p in folder.glob("*.yaml"))
    if name not in names:
        raise SettingsError(f"{what.upper()}={name!r} is unknown; legal values: {', '.join(names)}")
    return folder / f"{name}.yaml"


def _parsed(path: Path, text: str, model: type[Strict]) -> dict[str, Any]:
    """The file's content, checked against the model, every fault in one line each."""
    where = path.relative_to(path.parents[2]) if len(path.parents) > 2 else path
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    try:
        model.model_validate(content)
    except ValidationError as error:
        raise SettingsError("; ".join(_fault(str(where), text, model, e) for e in error.errors())) from None
    return dict(content)


def _fault(where: str, text: str, model: type[Strict], error: Any) -> str:
    keys = [str(k) for k in error["loc"]]
    line = _line_of(text, keys)
    place = f"{where}:{line}: {'.'.join(keys)}" if line else f"{where}: {'.'.join(keys) or 'the file'}"
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']}, found {error['input']!r}"
    legal = _legal_keys(model, keys[:-1])
    near = difflib.get_close_matches(keys[-1], legal, 1)
    hint = f", did you mean {near[0]}?" if near else ""
    return f"{place}: unknown key{hint} Legal: {', '.join(legal)}" if legal else f"{place}: unknown key"


def _legal_keys(model: type[BaseModel], parents: list[str]) -> list[str]:
    current: type[BaseModel] | None = model
    for key in parents:
        kind = current.model_fields[key].annotation if current and key in current.model_fields else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            current = kind
        elif not key.isdigit():
            current = next((a for a in getattr(kind, "__args__", ()) if isinstance(a, type)), None)
            if current is None or not issubclass(current, BaseModel):
                return []
    return sorted(current.model_fields) if current else []


def _line_of(text: str, keys: list[str]) -> int | None:
    """The line on which the innermost of the keys stands, walking down the parsed nodes."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    line = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == key), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
    return line
