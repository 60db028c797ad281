"""Names of segments, made of what sets them apart; each part is a code that any language has words for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from rekindle.methods.segment_features import FEATURES

Language = Literal["en", "zh"]

# Whom a segment is of: its head. Then what is said of them, by theme: (above all users, below them).
HEADS = ("hardly_buyers", "one_time_buyers", "rare_buyers", "buyers", "frequent_buyers")
TOLD: dict[str, tuple[str, str]] = {
    "silence": ("lately_silent", "lately_active"),
    "money": ("high_spenders", "low_spenders"),
    "looking": ("come_often", "come_rarely"),
    "wanting": ("fill_carts", "carts_empty"),
    "searching": ("search_much", "search_little"),
    "trend": ("coming_more", "coming_less"),
    "bargains": ("buy_reduced", "pay_full_price"),
    "returns": ("return_much", "keep_what_they_buy"),
    "age": ("long_known", "newcomers"),
}
PHRASES: dict[str, dict[Language, str]] = {
    "hardly_buyers": {"en": "have hardly bought", "zh": "几乎未购买者"},
    "one_time_buyers": {"en": "one-time buyers", "zh": "单次购买者"},
    "rare_buyers": {"en": "rare buyers", "zh": "偶尔购买者"},
    "buyers": {"en": "buyers", "zh": "普通购买者"},
    "frequent_buyers": {"en": "frequent buyers", "zh": "频繁购买者"},
    "lately_silent": {"en": "lately silent", "zh": "近期沉默"},
    "lately_active": {"en": "lately active", "zh": "近期活跃"},
    "high_spenders": {"en": "spend much", "zh": "消费高"},
    "low_spenders": {"en": "spend little", "zh": "消费低"},
    "come_often": {"en": "come often", "zh": "常来访"},
    "come_rarely": {"en": "come rarely", "zh": "少来访"},
    "fill_carts": {"en": "fill carts", "zh": "常加购物车"},
    "carts_empty": {"en": "leave carts empty", "zh": "少加购物车"},
    "search_much": {"en": "search much", "zh": "搜索多"},
    "search_little": {"en": "search little", "zh": "搜索少"},
    "coming_more": {"en": "come more than before", "zh": "来访增加"},
    "coming_less": {"en": "come less than before", "zh": "来访减少"},
    "buy_reduced": {"en": "buy what is reduced", "zh": "偏好打折"},
    "pay_full_price": {"en": "pay the full price", "zh": "按原价购买"},
    "return_much": {"en": "return much", "zh": "退货多"},
    "keep_what_they_buy": {"en": "keep what they buy", "zh": "很少退货"},
    "long_known": {"en": "long known", "zh": "老用户"},
    "newcomers": {"en": "newcomers", "zh": "新用户"},
}
CLEAR = 0.4  # standard deviations from which on something is said
STILL = 0.2  # down to which a segment keeps a name that says it
USUAL_PARTS = 2  # said beside the head, more where it takes more to tell two segments apart
FEW_ORDERS = 1.5  # mean orders ever below which a segment is of one-time buyers
HARDLY_BOUGHT = 1.0  # and below which it is of those who have hardly bought


def themes(z: Mapping[str, float]) -> dict[str, float]:
    """The mean z-difference of each theme's features."""
    found: dict[str, list[float]] = {}
    for one in FEATURES:
        if one.name in z:
            found.setdefault(one.theme, []).append(z[one.name])
    return {theme: sum(values) / len(values) for theme, values in found.items()}


def head(z: Mapping[str, float], orders: float) -> str:
    """Whom the segment is of; `orders` is its users' mean of orders ever."""
    if orders < HARDLY_BOUGHT:
        return "hardly_buyers"
    if orders < FEW_ORDERS:
        return "one_time_buyers"
    buying = themes(z).get("buying", 0.0)
    return "frequent_buyers" if buying >= CLEAR else "rare_buyers" if buying <= -CLEAR else "buyers"


def told(z: Mapping[str, float], from_on: float = CLEAR) -> list[str]:
    """What can be said of the segment beside its head, the clearest first."""
    said = {theme: value for theme, value in themes(z).items() if theme in TOLD and abs(value) >= from_on}
    return [TOLD[theme][0 if said[theme] > 0 else 1] for theme in sorted(said, key=lambda t: (-abs(said[t]), t))]


def parts_of(
    segments: Sequence[tuple[Mapping[str, float], float]], before: Sequence[Sequence[str] | None] | None = None
) -> list[list[str]]:
    """The parts of each segment's name, all different; each segment is its z-differences and its mean orders.

    The parts a segment had `before` (None: a new one) stay while they hold. Then the head and the two clearest things;
    segments of one name are told more of, and numbered where nothing more can be told.
    """
    names: list[list[str] | None] = [None] * len(segments)
    for n, (z, orders) in enumerate(segments):
        old = list(before[n] or ()) if before is not None else []
        still = {head(z, orders), *told(z, STILL)}
        if old and head(z, orders) == old[0] and set(old) <= still and old not in names:
            names[n] = old
    taken = [name for name in names if name is not None]
    fresh = [n for n, name in enumerate(names) if name is None]
    much = {n: [head(*segments[n]), *told(segments[n][0])] for n in fresh}
    length = dict.fromkeys(fresh, 1 + USUAL_PARTS)

    def short(n: int) -> list[str]:
        return much[n][: length[n]]

    while True:
        alike = [n for n in fresh if [short(m) for m in fresh].count(short(n)) > 1 or short(n) in taken]
        longer = [n for n in alike if length[n] < len(much[n])]
        if not longer:
            break
        for n in longer:
            length[n] += 1
    for n in fresh:
        names[n] = numbered(short(n), taken)
        taken.append(names[n] or [])
    return [name or [] for name in names]


def numbered(parts: list[str], taken: Sequence[Sequence[str]]) -> list[str]:
    """The parts, with the first number from 2 on that makes them different from all taken ones, if needed."""
    found, number = parts, 2
    while found in taken:
        found, number = [*parts, str(number)], number + 1
    return found


def word_parts(
    leading: Sequence[Sequence[str]], before: Sequence[Sequence[str] | None] | None = None
) -> list[list[str]]:
    """Names of topics: their two leading words, more where it takes more to tell two apart. A name from `before` stays
    while its words are among the leading ones."""
    names: list[list[str]] = []
    olds = [list(old or ()) for old in before] if before is not None else [[] for _ in leading]
    kept = [old if old and set(old) <= set(words) else [] for old, words in zip(olds, leading, strict=True)]
    for n, words in enumerate(leading):
        taken = [*names, *kept[n + 1 :]]
        if kept[n] and kept[n] not in taken:
            names.append(kept[n])
            continue
        short = [list(words[:length]) for length in range(min(2, len(words)), len(words) + 1)]
        free = [name for name in short if name not in taken]
        names.append(free[0] if free else numbered(list(words), taken))
    return names


def name(parts: Sequence[str], language: Language = "en") -> str:
    """The name in words: the head, then what is said; a topic's words stay as they are."""
    comma = "，" if language == "zh" else ", "
    return comma.join(PHRASES[part][language] if part in PHRASES else part for part in parts)
