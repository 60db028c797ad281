"""Coupons and the items on which they can be redeemed."""

from rekindle.contract import Column, Table
from schemas import LINE, ROW_ID

COUPONS = Table(
    name="coupons",
    doc="One row per coupon, item and campaign.",
    key=("row_id",),
    columns=(
        ROW_ID,
        Column("coupon_id", "string", "The shop's coupon number."),
        Column("item_id", "string", "Item on which it can be redeemed."),
        Column("campaign_id", "string", "Campaign that hands it out; null where not told.", nullable=True),
        *LINE,
    ),
)
