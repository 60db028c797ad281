"""make rollback-model: let an earlier champion serve again, from the next night on.

Reads   ops.models, ops.champion_decisions, the registry
Writes  ops.champions, ops.champion_decisions, ops.model_decisions

The model that is left is withdrawn: no night promotes it again, however it is judged. A model trained anew has another
digest and is judged like any other. MLflow's alias follows with the next night.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psycopg

from rekindle import cli, registry, settings, tracking, warehouse
from rekindle.embedded import EmbeddedError
from rekindle.ledger import MODEL_KINDS, Ledger, LedgerError, Model, ModelKind
from rekindle.refusals import UsageError


def target(models: Sequence[Model], line: Sequence[str], asked: str | None) -> Model:
    """The model to go back to: the one asked for, else the champion before this one that was not withdrawn.

    `line` is the digests that led to the champion, the champion last.

    Raises:
        UsageError: no such model, or there was no champion before.
    """
    known = {m.digest: m for m in models}
    if asked is not None:
        if asked not in known:
            there = ", ".join(f"{m.digest} ({m.method}, {m.status})" for m in models)
            raise UsageError(f"DIGEST={asked!r} is no such model of the source; there are: {there}")
        return known[asked]
    before = [d for d in line if d != line[-1] and d in known and known[d].status != "withdrawn"]
    if not before:
        raise UsageError("there was no other champion before this one; name a model by DIGEST=")
    return known[before[-1]]


def roll_back(loaded: settings.Settings, kind: ModelKind, asked: str | None, why: str, who: str) -> str:
    """Move the champion back and say so in a sentence.

    Raises:
        UsageError: nothing to go back to, or its artefact is not whole.
        LedgerError: somebody else moved the champion at the same time.
    """
    ledger, source = Ledger(lambda: warehouse.connect(loaded.environment, "writer")), loaded.source.name
    champion = ledger.champion(source, kind)
    if champion is None:
        raise UsageError(f"{source} has no {kind} champion yet, so none can be rolled back; run: make nightly")
    chosen = target(ledger.models(source, kind), ledger.champions_before(source, kind), asked)
    if chosen.digest == champion.digest:
        return f"{source}, {kind}: {champion.digest} ({champion.method}) is the champion already; nothing was changed"
    try:
        registry.load(loaded.environment.lake.artefacts, chosen.digest)
    except registry.RegistryError as error:
        raise UsageError(f"{error}; the champion stays {champion.digest}, another can be named by DIGEST=") from error
    ledger.roll_back_model(source, kind, champion.digest, chosen.digest, why, who)
    tracking.spool_champion(loaded.home / "mlflow" / "spool", source, kind, chosen.digest)
    return (
        f"{source}, {kind}: {chosen.digest} ({chosen.method}, trained through {chosen.trained_through}) is champion"
        f" instead of {champion.digest} ({champion.method}) from the next night on"
    )


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 moved or nothing to do, 2 not possible as asked, 75 the warehouse did not answer."""
    parser = argparse.ArgumentParser(prog="rollback_model", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--kind", default="recommender", help=f"which model: {' or '.join(MODEL_KINDS)}")
    parser.add_argument("--digest", help="the model to go back to; without it the champion before this one")
    parser.add_argument("--why", default="", help="the reason, kept with the decision")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)
    kind = next((k for k in MODEL_KINDS if k == given.kind), None)
    if kind is None:
        return cli.fail(cli.USAGE, f"KIND={given.kind!r} is unknown; legal values: {', '.join(MODEL_KINDS)}")
    try:
        loaded = settings.load(given.source, given.env)
        told = roll_back(loaded, kind, given.digest or None, given.why.strip() or "no reason was given", cli.operator())
    except settings.SettingsError as error:
        return cli.fail(cli.USAGE, *error.faults)
    except (UsageError, LedgerError, warehouse.WarehouseError) as error:
        return cli.fail(cli.USAGE, str(error))
    except (psycopg.OperationalError, EmbeddedError) as error:
        return cli.fail(cli.TEMPORARY, f"temporary: the warehouse did not answer: {error}")
    sys.stdout.write(f"{told}\n")
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
