"""Say why an item is, or is not, in a user's list of the served night: `make why USER=… ITEM=…`.

Reads   events, item_features, item_measures, excluded_users, recommendations (of earlier nights: what was shown)
Writes  nothing

The list is made again for that user alone, from what the night read; nobody else's row is looked at.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame

from rekindle import cli, identity, night, registry, settings, warehouse
from rekindle.ledger import Ledger
from rekindle.methods.activity import activity
from rekindle.methods.list_batch import Batch
from rekindle.methods.list_why import Why, why
from rekindle.methods.listing import tastes_of
from rekindle.methods.recommenders import Recommender
from rekindle.methods.serving import shown_of
from rekindle.methods.serving_frames import Night
from rekindle.refusals import UsageError
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.item_measures import ITEM_MEASURES
from schemas.recommendations import RECOMMENDATIONS


def batch_of(made: Night, users: DataFrame, length: int) -> Batch | None:
    """What the list of the one user in `users` is made of; None where there is none."""
    rows = users.toArrow().combine_chunks().to_batches()
    if not rows or not rows[0].num_rows:
        return None
    shown, seeds = shown_of(rows[0])
    return made.served.batch(tastes_of(rows[0]), shown, seeds, length)


def told(found: Why, night_of: str) -> str:
    """For a terminal: the sentence, and what each source of the ladder says."""
    lines = [found.text, "", f"  {'asked':24}{'rank':>8}  score   (night of {night_of})"]
    for source, rank in found.ranks.items():
        asked = source if source in found.asked else f"{source} (not asked)"
        score = found.scores[source]
        lines.append(f"  {asked:24}{rank or '–':>8}  {'–' if math.isnan(score) else f'{score:.5g}'}")
    return "\n".join(lines) + "\n"


def explain(context: cli.Context, user: str, item: str) -> str:
    """Why, in words.

    Raises:
        UsageError: the night saw no such user or item.
    """
    environment, source, conf = context.settings.environment, context.source, context.source.recommend
    key = identity.pseudonym(identity.read_key(environment.identity.key_file), source.name, user)
    champion = context.ledger.run_champions(context.run_id)["recommender"]
    made = Night.of(
        Recommender.from_files(registry.load(environment.lake.artefacts, champion.digest)),
        activity(night.read(context, EVENTS)).persist(),
        night.read(context, EXCLUDED_USERS),
        night.read(context, ITEM_FEATURES).persist(),
        night.read_if_any(context, ITEM_MEASURES),
        night.served_before(context, RECOMMENDATIONS, conf.shown_nights),
        context.settings.as_of(context.business_date),
        source.zone,
        conf,
    )
    day = f"{source.name}, {context.business_date}"
    if item not in made.prepared.catalogue:
        raise UsageError(f"ITEM={item!r}: no event of the night of {day} names it; expected an item number of the log")
    length = context.settings.business.list_length
    batch = batch_of(made, made.users.where(made.users.user_key == key), length)
    if batch is None:
        raise UsageError(f"USER={user!r}: the night of {day} saw no such user; expected an id as in crm.user_profiles")
    names = (f"user {user}", f"item {item}")
    found = why(batch, conf.rules, length, made.prepared.catalogue.index(item), names)
    return told(found, day)


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="explain_item", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--user", required=True, help="the shop's own id of the user, as in the crm views")
    parser.add_argument("--item", required=True, help="the shop's item number")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)
    if not (given.user and given.item):
        return cli.fail(cli.USAGE, "USER= and ITEM= are both needed, as in make why USER=C100168 ITEM=CA-17")
    return cli.ended(lambda: say(given))


def say(given: argparse.Namespace) -> None:
    """Explain the arguments' item to standard output, from the served night.

    Raises:
        UsageError, DataRefused: as the command line or the night is.
    """
    loaded = settings.load(given.source, given.env)
    ledger = Ledger(lambda: warehouse.connect(loaded.environment, "writer"))
    served = ledger.served(loaded.source.name)
    if served is None:
        raise UsageError(f"{loaded.source.name} has no published night yet; run one with make nightly")
    spark = cli.spark_session("explain_item", loaded.environment)
    log = logging.getLogger("explain_item")
    run = ledger.run(served.run_id)
    try:
        context = cli.Context(loaded, served.business_date, ledger, False, run, spark, {}, log)
        sys.stdout.write(explain(context, given.user, given.item))
    except registry.RegistryError as error:
        raise UsageError(str(error)) from error
    finally:
        spark.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
