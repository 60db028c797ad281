"""An artefact is what its digest says, or it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from rekindle.methods.comparison import Group
from rekindle.registry import RECORD, Comparison, Record, RegistryError, digest_of, load, record_of, save

VERSUS = Comparison("d1", "popularity", "ndcg_at_10", 0.3, 0.2, 0.1, 0.05, 0.15, 900)
TOLD = Record(
    kind="recommender",
    name="als",
    source="shop",
    run_id="r1",
    trained_through=date(2026, 4, 23),
    judged_on="2026-04-24 to 2026-04-30",
    params={"rank": 32, "alpha": 2.0, "note": "ü"},
    metrics={"ndcg_at_10": 0.3},
    tables={"events": 2**62},
    comparisons=[VERSUS],
)
FILES = {"model.json": b"{}", "factors.npy": b"\x00\x01\x02", RECORD: TOLD.to_json()}


def test_what_is_saved_is_loaded_and_saving_again_changes_nothing(tmp_path: Path) -> None:
    digest = save(tmp_path, FILES)
    assert load(tmp_path, digest) == FILES
    assert record_of(tmp_path, digest) == TOLD
    assert save(tmp_path, dict(reversed(FILES.items()))) == digest
    assert [p.name for p in tmp_path.iterdir()] == [digest], "no half-written folder is left"


def test_the_record_and_pictures_are_kept_beside_the_model_and_are_not_the_model(tmp_path: Path) -> None:
    digest = save(tmp_path, FILES)
    judged_again = FILES | {RECORD: replace(TOLD, run_id="r2").to_json(), "confusion.png": b"picture"}
    assert save(tmp_path, judged_again) == digest
    assert load(tmp_path, digest) == judged_again, "one model, with what was last found of it"
    assert record_of(tmp_path, digest).run_id == "r2"
    assert len({digest, digest_of({"model.json": b"{}"}), digest_of({"model.jso": b"n{}"})}) == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "lost", "added", "renamed"])
def test_a_model_with_one_byte_flipped_or_a_file_too_many_is_refused(tmp_path: Path, damage: str) -> None:
    digest = save(tmp_path, FILES)
    file = tmp_path / digest / "factors.npy"
    if damage == "flip":
        file.write_bytes(b"\x00\x01\x03")
    elif damage == "cut":
        file.write_bytes(b"\x00\x01")
    elif damage == "lost":
        file.unlink()
    elif damage == "added":
        (tmp_path / digest / "more.json").write_bytes(b"{}")
    else:
        file.rename(file.with_name("other.npy"))
    with pytest.raises(RegistryError, match=f"model {digest}: its files have digest .*; restore them or train anew"):
        load(tmp_path, digest)
    assert save(tmp_path, FILES) == digest
    assert load(tmp_path, digest) == FILES, "training the same model anew restores it"


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"model 0123456789abcdef: no artefact in .*train anew"):
        load(tmp_path, "0123456789abcdef")


def test_a_record_keeps_what_a_takeover_would_change_and_an_older_one_can_still_be_read() -> None:
    new = Group("new", 20, 0.1, 0.2, None, None, 0.5, 0.4, 0.9)
    versus = replace(VERSUS, coverage=0.2, other_coverage=0.3, overlap=0.5, flip_rate=0.4, list_flip_rate=0.9)
    told = replace(TOLD, comparisons=[replace(versus, groups=(new,))])
    assert Record.from_json(told.to_json()) == told
    older = json.loads(TOLD.to_json())
    for key in ("coverage", "other_coverage", "overlap", "flip_rate", "list_flip_rate", "groups"):
        del older["comparisons"][0][key]
    assert Record.from_json(json.dumps(older).encode()) == TOLD


def test_better_means_that_the_whole_interval_lies_above_zero() -> None:
    assert VERSUS.is_better
    assert not replace(VERSUS, low=0.0).is_better
    assert not replace(VERSUS, low=-0.01).is_better
