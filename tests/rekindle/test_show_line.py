"""`make show-line` shows exactly one landed line, or says in one line why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rekindle import settings
from rekindle.landing_lines import take
from rekindle.show_line import find


def test_the_raw_bytes_of_a_quarantined_line_are_shown(tmp_path: Path) -> None:
    landed = tmp_path / "landed"
    landed.write_bytes(b"first\n\xffsecond\t\n")
    digest = take(landed, tmp_path / "bronze").sha256

    def show(*arguments: str) -> tuple[int, bytes, bytes]:
        command = [sys.executable, "-m", "rekindle.show_line", *arguments]
        given = os.environ | {"REKINDLE_HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, cwd=settings.ROOT, env=given)
        return done.returncode, done.stdout, done.stderr

    assert show(digest[:10], "2") == (0, b"\xffsecond\t\n", b"")
    code, out, told = show(digest, "3")
    assert (code, out, told) == (1, b"", f"error: file {digest} has 2 lines; expected at least 3\n".encode())
    code, out, told = show(digest, "-1")
    assert (code, out, told) == (1, b"", b"error: LINE='-1': expected a line number from 1\n")


def test_a_file_is_named_by_the_first_digits_of_its_digest_and_by_nothing_else(tmp_path: Path) -> None:
    local = settings.load_environment("local")
    environment = local.model_copy(update={"lake": local.lake.model_copy(update={"bronze": tmp_path})})
    for name in ("aaaa1" + "0" * 59, "aaaa2" + "0" * 59, ".part-12"):
        (tmp_path / name).touch()
    assert find("aaaa1", environment) == "aaaa1" + "0" * 59
    with pytest.raises(LookupError, match="2 files in bronze begin so; expected one"):
        find("aaaa", environment)
    with pytest.raises(LookupError, match="0 files in bronze begin so"):
        find("bbbb", environment)
    for wrong in ("../../etc", ".part-12", "aaa", "", "AAAA1"):
        with pytest.raises(LookupError, match="expected a file's sha256 or its first digits"):
            find(wrong, environment)
