"""What an item usually costs, how dear it is among its like, and what that says of who buys it.

Events are a frame with user_key, item_id, event_type, event_date, quantity and unit_price, of what users did before
`as_of`; nothing else is assumed. An event without an item or with a price of 0 tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle.methods.rhythm import median

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FIFTHS = 5
LEAST_ITEMS = 5  # priced items of a category: with fewer no fifth is one
MONEY = "decimal(28,4)"  # sums of money are exact, in whatever order rows meet


def usual_prices(events: DataFrame, items: DataFrame) -> DataFrame:
    """By item with a price: usual_price and fifth; `items` has the category of every item_id.

    The usual price is the median over the days on which the item was priced of the day's highest, so that neither an
    offer of some days nor a busy day moves it. `fifth`, 1 the cheapest to 5, is by the item's rank among the usual
    prices of its category, equals alike; null in categories of less than LEAST_ITEMS.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    by_day = (
        events.where(F.col("item_id").isNotNull() & (F.col("unit_price") > 0))
        .groupBy("item_id", "event_date")
        .agg(F.max("unit_price").alias("price"))
    )
    priced = by_day.groupBy("item_id").agg(median(F.collect_list("price")).alias("usual_price"))
    alike = Window.partitionBy("category")
    place, size = F.rank().over(alike.orderBy("usual_price")), F.count(F.lit(1)).over(alike)
    fifth = (1 + F.floor(F.lit(FIFTHS) * (place - 1) / size)).cast("int")
    return priced.join(items.select("item_id", "category"), "item_id").select(
        "item_id", "usual_price", F.when(F.col("category").isNotNull() & (size >= LEAST_ITEMS), fifth).alias("fifth")
    )


def bought_prices(events: DataFrame, items: DataFrame, parts: Column, discount_from: float) -> DataFrame:
    """By buyer of anything priced: price_band, price_level, discount_line_share and discount_spend_share.

    `parts` is a line's weight for the price level, whole and faded. A line is at a discount from `discount_from` (a
    share) below the item's usual price on, to the hundredth of a percent.
    """
    from pyspark.sql import functions as F

    lines = events.where(
        (F.col("event_type") == "purchase") & F.col("item_id").isNotNull() & (F.col("unit_price") > 0)
    ).select("user_key", "item_id", "unit_price", "quantity", parts.alias("parts"))
    below = F.round(F.lit(1.0) - F.col("unit_price") / F.col("usual_price"), 4)
    paid = F.col("unit_price").cast(MONEY) * F.coalesce("quantity", F.lit(1.0)).cast(MONEY)
    is_offer, has_fifth = below >= F.lit(discount_from), F.col("fifth").isNotNull()
    summed = (
        lines.join(usual_prices(events, items), "item_id")
        .withColumns({"paid": paid, "is_offer": is_offer})
        .groupBy("user_key")
        .agg(
            F.sum(F.when(has_fifth, F.col("parts").cast("decimal(38,0)") * F.col("fifth"))).alias("placed"),
            F.sum(F.when(has_fifth, F.col("parts")).cast("decimal(38,0)")).alias("placed_parts"),
            F.count_if("is_offer").alias("offers"),
            F.count(F.lit(1)).alias("lines"),
            F.sum(F.when(F.col("is_offer"), F.col("paid")).otherwise(0)).alias("offers_paid"),
            F.sum("paid").alias("paid"),
        )
    )
    level = F.col("placed").cast("double") / F.col("placed_parts").cast("double")
    return summed.withColumn("price_level", level).select(
        "user_key",
        "price_level",
        F.floor(F.col("price_level") + 0.5).cast("int").alias("price_band"),
        (F.col("offers") / F.col("lines")).alias("discount_line_share"),
        F.try_divide(F.col("offers_paid").cast("double"), F.col("paid").cast("double")).alias("discount_spend_share"),
    )
