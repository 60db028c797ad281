"""Alerts on their way: a folder of letters, each delivered once to every receiver, also when one is down for a while.

    alerts/spool/<id>.json       waits for at least one receiver
    alerts/sent/<id>.json        every receiver has it
    alerts/refused/<id>.json     no letter of ours, or refused MOST_TRIES times

An id names what happened, so the same failure told twice is one letter. A letter carries its id to the receiver, too
(Message-ID, Idempotency-Key): if this process dies between a receiver's yes and the note of it, the receiver can tell
the second from the first.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from rekindle.sources import Strict

# At one try in half an hour: four days.
MOST_TRIES = 200
# Ids remembered against being sent again; a letter has about 1 KB.
KEPT_SENT = 2_000

Text = Annotated[str, Field(max_length=20_000)]


class Letter(Strict):
    """One alert. `delivered` are the receivers that have it, `tries` how often it was refused."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    title: Text
    what: Text
    why: Text
    to_do: Text
    link: Text | None = None
    delivered: tuple[str, ...] = ()
    tries: Annotated[int, Field(ge=0)] = 0


class ReceiverDown(Exception):
    """The receiver does not answer, or says later: nothing of it is sent any more in this round."""


class LetterRefused(Exception):
    """The receiver answers and does not take this letter."""


Deliver = Callable[[Letter], None]


@dataclass(frozen=True)
class Round:
    """What became of one round: letters that arrived everywhere, that wait, that were put aside; faults in words."""

    sent: int
    waiting: int
    put_aside: int
    faults: tuple[str, ...]


def put(home: Path, letter: Letter) -> bool:
    """Put the letter into the spool, unless it lies there or was sent already; whether it was put."""
    folder = home / "alerts"
    name = f"{letter.id}.json"
    if (folder / "spool" / name).exists() or (folder / "sent" / name).exists():
        return False
    _write(folder / "spool" / name, letter)
    return True


def deliver_all(home: Path, receivers: Mapping[str, Deliver]) -> Round:
    """Bring every letter of the spool to every receiver that does not have it; one round at a time on a machine."""
    folder = home / "alerts"
    with _alone(folder) as mine:
        if not mine:
            waiting = len(list((folder / "spool").glob("*.json")))
            return Round(0, waiting, 0, ("another process is delivering",) if waiting else ())
        return _deliver_all(folder, receivers)


def _deliver_all(folder: Path, receivers: Mapping[str, Deliver]) -> Round:
    down: dict[str, str] = {}
    faults: list[str] = []
    sent = put_aside = twice = 0
    # Oldest first; ids say nothing about time.
    letters = sorted((folder / "spool").glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in letters:
        if (folder / "sent" / path.name).exists():
            path.unlink()  # written by a callback while the first one was on its way
            twice += 1
            continue
        try:
            letter = Letter.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            faults.append(f"{path.name} is no letter of ours; put aside")
            put_aside += _move(path, folder / "refused")
            continue
        for name, deliver in receivers.items():
            if name in letter.delivered or name in down:
                continue
            try:
                deliver(letter)
            except ReceiverDown as error:
                down[name] = str(error)
            except LetterRefused as error:
                faults.append(f"{name} refused {letter.id}: {error}")
                letter = _kept(path, letter.model_copy(update={"tries": letter.tries + 1}))
            else:
                letter = _kept(path, letter.model_copy(update={"delivered": (*letter.delivered, name)}))
        if set(receivers) <= set(letter.delivered):
            sent += _move(path, folder / "sent")
        elif letter.tries >= MOST_TRIES:
            put_aside += _move(path, folder / "refused")
    _forget_old(folder / "sent")
    faults += [f"{name} is down: {why}" for name, why in down.items()]
    return Round(sent, len(letters) - sent - put_aside - twice, put_aside, tuple(faults))


def _kept(path: Path, letter: Letter) -> Letter:
    """The letter, noted in its file at once: whoever has it is not told again."""
    _write(path, letter)
    return letter


def _write(path: Path, letter: Letter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(letter.model_dump(mode="json"), ensure_ascii=False), encoding="utf-8")
    if path.exists():
        # Its place in the queue is when it happened, not when it was last tried.
        then = path.stat()
        os.utime(part, ns=(then.st_atime_ns, then.st_mtime_ns))
    part.rename(path)


def _move(path: Path, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    path.rename(folder / path.name)
    return 1


def _forget_old(folder: Path) -> None:
    known = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in known[KEPT_SENT:]:
        path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else delivers; while it is so, nobody else does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "delivery.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
