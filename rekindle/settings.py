"""Settings: one frozen, strict object from conf/, and the places where state lives.

An unknown key, a wrong type or an unknown source is one line that names the file, the key and the legal values.
"""

from __future__ import annotations

import hashlib
import os
import re
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rekindle import conf_faults
from rekindle.addresses import CatalogUri, Host, OneLine, SparkSetting, TrackingUri
from rekindle.alert_conf import Alerts
from rekindle.churn_conf import BASELINE, Offer, every_method
from rekindle.churn_conf import Declared as ChurnMethod
from rekindle.methods.list_settings import Rules
from rekindle.methods.segment_settings import Segments
from rekindle.recommender_conf import Declared
from rekindle.report_conf import ReportLanguages
from rekindle.retention_conf import Retention
from rekindle.sources import Ingest, Name, NotCustomers, Strict

ROOT = Path(__file__).resolve().parent.parent
Model = TypeVar("Model", bound=Strict)


class SettingsError(Exception):
    """Something in conf/ or on the command line is not legal: what was found, where, and what is legal.

    `faults` are its sentences one by one; as text they are one line.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


Days = Annotated[int, Field(ge=1)]


class Churn(Strict):
    """Churned at t := no purchase in (t+gap, t+gap+horizon]; who is eligible; the sliding training cut-offs.

    `methods` are compared in every training, and those that offer may serve. `search_trials`: how many settings of each
    method that can be searched are tried when training was asked for (0: none).
    """

    horizon_days: Days
    gap_days: Annotated[int, Field(ge=0)]
    eligibility_days: Days
    history_days: Days
    cutoff_step_days: Days
    training_cutoffs: Days
    methods: Annotated[dict[Name, ChurnMethod], Field(min_length=1, default_factory=every_method)]
    search_trials: Annotated[int, Field(ge=0)] = 20
    offer: Offer = Offer(cost=1.0, saves=0.1, margin=0.25)

    @property
    def settled_days(self) -> int:
        """Days after the log's first from which on who is eligible is no longer decided by where the log begins."""
        return max(self.history_days, self.eligibility_days)

    @model_validator(mode="after")
    def _baseline_apart(self) -> Churn:
        if BASELINE in self.methods:
            raise ValueError(f"methods: {BASELINE} is the baseline of every training; name yours otherwise")
        return self


class Recommend(Strict):
    """Weights of events as implicit feedback, how they age, the split that judges, and the methods that take part.

    A method that learns in the driver's memory takes part up to `in_memory_events` events: 100 bytes each while they
    are read, so 1 GB by default. Beyond it the methods that Spark trains are judged alone.
    """

    event_weights: dict[str, float]
    half_life_days: Annotated[float, Field(gt=0)]
    judge_days: Days
    popularity_days: Days
    catalogue_days: Days
    durable_categories: tuple[str, ...] = ()
    methods: Annotated[dict[Name, Declared], Field(min_length=1)]
    in_memory_events: Days = 10_000_000
    rules: Rules = Rules()
    shown_nights: Annotated[int, Field(ge=0)] = 7


class Silence(Strict):
    """From which silence on: `intervals` times the user's own median interval between active days, but no less than
    `least_days` and no more than `most_days`; the latter for users with one active day.
    """

    intervals: Annotated[float, Field(gt=0)]
    least_days: Days
    most_days: Days

    @model_validator(mode="after")
    def _in_order(self) -> Silence:
        if self.least_days > self.most_days:
            raise ValueError(f"least_days {self.least_days} is above most_days {self.most_days}")
        return self


class LifeCycle(Strict):
    """Stages of a user: the first that fits of lapsed and slipping (silent for so long), returned (within
    `returned_days` of coming back from a silence of `lapsed`), new (first seen within `new_days`); else active.
    """

    new_days: Days = 30
    returned_days: Days = 30
    slipping: Silence = Silence(intervals=2, least_days=14, most_days=45)
    lapsed: Silence = Silence(intervals=4, least_days=30, most_days=90)

    @model_validator(mode="after")
    def _lapsed_is_longer(self) -> LifeCycle:
        short, long = self.slipping, self.lapsed
        for name in ("intervals", "least_days", "most_days"):
            if getattr(long, name) <= getattr(short, name):
                raise ValueError(f"lapsed.{name} {getattr(long, name)} is not above slipping's {getattr(short, name)}")
        return self


class Vectors(Strict):
    """Users as directions: word2vec of items (rekindle/methods/item2vec.py), `dimension` numbers each, of at most
    `actions` actions of the last `days`, of users in the order of their keys' hashes.
    """

    dimension: Annotated[int, Field(ge=2, le=256)] = 32
    days: Days = 365
    actions: Annotated[int, Field(ge=1_000, le=5_000_000)] = 100_000
    epochs: Annotated[int, Field(ge=1)] = 5
    contexts: Annotated[int, Field(ge=1)] = 1
    negatives: Annotated[int, Field(ge=1)] = 5
    learning_rate: Annotated[float, Field(gt=0)] = 0.2


class Profiles(Strict):
    """Who a user is. A word is a keyword only if at least `keyword_users` users have it: fewer tell who, not what.
    A purchase is at a discount from `discount_from` (a share) below the item's usual price.
    """

    keyword_users: Annotated[int, Field(ge=1)] = 5
    discount_from: Annotated[float, Field(gt=0, lt=1)] = 0.05
    life_cycle: LifeCycle = LifeCycle()
    vectors: Vectors = Vectors()


class Action(Strict):
    """What the shop can do for a user: for users of these bands from this value at stake on."""

    action: Name
    bands: tuple[Literal["low", "medium", "high", "critical"], ...]
    least_value: Annotated[float, Field(ge=0)] = 0.0


DO_NOTHING = "do_nothing"


class WinBack(Strict):
    """The catalogue of actions, and over what time a user's value is counted.

    The first action that fits a user is suggested, "do_nothing" where none does and for whom the shop contacted less
    than `quiet_days` ago. Value is what a user is expected to bring in the `value_days` to come; money that comes a
    year later counts 1 / (1 + `yearly_discount`). Who complained is left alone for `complaint_days`.
    """

    value_days: Days = 365
    yearly_discount: Annotated[float, Field(ge=0)] = 0.1
    quiet_days: Annotated[int, Field(ge=0)] = 14
    complaint_days: Annotated[int, Field(ge=0)] = 90
    actions: tuple[Action, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> WinBack:
        names = [one.action for one in self.actions]
        if len(set(names)) < len(names) or DO_NOTHING in names:
            raise ValueError(f"actions {names}: each once, and {DO_NOTHING} not at all (it stands where none fits)")
        return self


class Source(Ingest):
    """One shop's log format and the numbers that depend on the shop.

    `severities` arms or disarms the checks of drift (`make backtest-expectations` says what each would have refused).
    """

    description: str
    simulated: bool = False
    currency: str
    first_night: date | None = None
    on_missing_day: Literal["refuse", "accept"]
    quarantine_share_limit: Annotated[float, Field(gt=0, le=1)]
    severities: dict[str, Literal["critical", "warning"]] = Field(default_factory=dict)
    not_customers: NotCustomers = NotCustomers()
    churn: Churn
    win_back: WinBack = WinBack()
    retention: Retention = Retention()
    recommend: Recommend
    profiles: Profiles = Profiles()
    segments: Segments = Segments()

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


class Drift(Strict):
    """From where on the night tells an alarm: PSI of a feature or of the score between the cut-off whose outcomes are
    known and tonight, and calibration on that cut-off before it is used (ECE; mean said less share seen, either way).
    """

    psi: Annotated[float, Field(gt=0)]
    ece: Annotated[float, Field(gt=0, lt=1)]
    in_the_large: Annotated[float, Field(gt=0, lt=1)]


class Inbox(Strict):
    """What the CRM writes back.

    An outcome of a user whom the log has not named yet waits `wait_days` after it happened. `outcome_days` is how long
    the table `outcomes` tells what became of each.
    """

    wait_days: Annotated[int, Field(ge=0)] = 2
    outcome_days: Days = 90


class Business(Strict):
    """The numbers that the business, not a programmer, changes.

    `coverage_margin`: the share by which a model that takes over may show fewer of the shop's items than the champion.
    `band_flip_limit`: the share of users that it may move into another risk band than the champion's.
    `kept_runs`: how many published runs of a source keep their rows, beside those younger than `kept_hours`.
    `holdout_share`: the share of users whom the CRM never sees, so that what contacting brings can be measured.
    `report_language`: what the nightly report is written in; of several the first is that of night.html.
    """

    list_length: Annotated[int, Field(ge=1, le=100)]
    risk_bands: RiskBands
    drift: Drift
    kept_runs: Annotated[int, Field(ge=2)]
    kept_hours: Annotated[int, Field(ge=0)]
    holdout_share: Annotated[float, Field(ge=0, le=0.5)]
    inbox: Inbox = Inbox()
    night_tag_days: Days
    bootstrap_draws: Annotated[int, Field(ge=100)]
    coverage_margin: Annotated[float, Field(ge=0, le=1)]
    report_language: ReportLanguages = ("en",)
    band_flip_limit: Annotated[float, Field(gt=0, le=1)]
    seed: int


class Spark(Strict):
    """How spark-submit is called. `secret_file`, of a standalone cluster, is read by the session, never put in argv."""

    master: OneLine
    deploy_mode: Literal["client", "cluster"] = "client"
    secret_file: Path | None = None
    conf: dict[SparkSetting, OneLine] = Field(default_factory=dict)


class Lake(Strict):
    """The Iceberg catalog and where its files are. `password_file` is read by the session, never put in argv."""

    catalog_uri: CatalogUri
    warehouse: OneLine
    user: OneLine | None = None
    password_file: Path | None = None
    bronze: Path
    artefacts: Path


class Warehouse(Strict):
    """PostgreSQL. Embedded: a server of our own on loopback, its port kept in the state folder."""

    embedded: bool
    host: Host
    port: int | None = None
    database: Name
    secrets: Path


class MLflow(Strict):
    """Where training runs are logged."""

    tracking_uri: TrackingUri
    artifacts: str


class Identity(Strict):
    """The secret that makes pseudonyms, and its version; the salt that draws the holdout, which has none.

    Another salt is another holdout: keep it as long as anything is measured by it.
    """

    key_file: Path
    key_version: Annotated[int, Field(ge=1)]
    holdout_salt_file: Path


class Environment(Strict):
    """Where things run, and who hears of what fails there. `{home}` in a value is the state folder."""

    name: str
    spark: Spark
    lake: Lake
    warehouse: Warehouse
    mlflow: MLflow
    identity: Identity
    alerts: Alerts = Alerts()


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
        """Digest of all that conf says about this source's tables: part of the run id."""
        told = self.source.model_dump_json() + self.business.model_dump_json(exclude={"report_language"})
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @cached_property
    def code_version(self) -> str:
        """Digest of the code that decides what comes out: part of the run id, in a clone or an installed wheel."""
        return digest_of_code(self.root, "rekindle", "schemas", "expectations", "jobs")

    @cached_property
    def ingest_version(self) -> str:
        """Digest of what decides a line's fate: a night builds only on nights that cleaned by the same."""
        told = Ingest.model_dump_json(self.source, include=set(Ingest.model_fields))
        code = digest_of_code(self.root, *INGEST_CODE)
        key = self.environment.identity.key_version
        return hashlib.sha256(f"{told} {code} {key}".encode()).hexdigest()[:16]

    def as_of(self, business_date: date) -> date:
        """The first local day that the night of `business_date` may not look at."""
        return business_date + timedelta(days=1)


# What decides a line's fate, as far as code does.
INGEST_CODE = (
    "jobs/ingest/clean_events.py",
    *(f"rekindle/{name}.py" for name in ("sources", "patterns", "expressions", "expression_columns", "identity")),
    *(f"rekindle/line_{name}.py" for name in ("parsing", "rules", "fates", "cleaning")),
    *(f"rekindle/landing_{name}.py" for name in ("lines", "blocks", "objects", "streams", "parquet")),
    "rekindle/methods/activity.py",
    "schemas/events.py",
)


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
    path = _choice("environment", name, environment_names(root), conf_folder(root) / "environments")
    text = path.read_text(encoding="utf-8").replace("{home}", str(home()))
    return _parsed(path, text, Environment)


def load(source: str, environment: str = "local", root: Path = ROOT) -> Settings:
    """Settings for one source in one environment.

    Raises:
        SettingsError: an unknown source or environment, an unknown key, a value that is not legal.
    """
    path = _choice("source", source, source_names(root), conf_folder(root) / "sources")
    business = conf_folder(root) / "business.yaml"
    return Settings(
        root=root,
        home=home(),
        environment=load_environment(environment, root),
        source=_parsed(path, path.read_text(encoding="utf-8"), Source),
        business=_parsed(business, business.read_text(encoding="utf-8"), Business),
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


def _choice(what: str, name: str, names: list[str], folder: Path) -> Path:
    if name not in names:
        raise SettingsError(f"{what.upper()}={name!r} is unknown; legal values: {', '.join(names)}")
    return folder / f"{name}.yaml"


def _parsed(path: Path, text: str, model: type[Model]) -> Model:
    """The file's content as the model, every fault in one line each."""
    where = path.relative_to(path.parents[2]) if len(path.parents) > 2 else path
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    twice = conf_faults.told_twice(str(where), text)
    if twice:
        raise SettingsError(*twice)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SettingsError(*conf_faults.told(str(where), text, model, error)) from None
