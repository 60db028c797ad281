"""`make show-line FILE=… LINE=…`: the raw text of a landed line, from bronze. For those who may see raw ids."""

from __future__ import annotations

import re
import sys

from rekindle import settings
from rekindle.landing_lines import show_line


def find(argument: str, environment: settings.Environment) -> str:
    """The one file in bronze whose digest begins with the argument.

    Raises:
        LookupError: none or several do.
    """
    if not re.fullmatch(r"[0-9a-f]{4,64}", argument):
        raise LookupError(
            f"FILE={argument!r}: expected a file's sha256 or its first digits, as ops and quarantine show it"
        )
    found = [p.name for p in environment.lake.bronze.iterdir() if p.name.startswith(argument)]
    if len(found) != 1:
        raise LookupError(f"FILE={argument}: {len(found)} files in bronze begin so; expected one")
    return found[0]


if __name__ == "__main__":
    try:
        file, number = sys.argv[1], sys.argv[2]
        if not re.fullmatch(r"[0-9]{1,15}", number):
            raise LookupError(f"LINE={number!r}: expected a line number from 1")
        chosen = settings.load_environment()
        raw = show_line(chosen.lake.bronze / find(file, chosen), int(number))
    except (LookupError, settings.SettingsError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.buffer.write(raw + b"\n")
