"""Deliver the alerts that wait, by mail and webhook, each once.

Reads   alerts/spool, conf/environments
Writes  alerts/sent

Started by the callback of a task that is red for good, and by the DAG `freshness` for what a receiver that was down did
not take. Without a receiver in conf the letters count as sent: alerts/alerts.jsonl has them all.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from rekindle import alert_receivers, alerts, cli, settings

log = logging.getLogger("send_alerts")


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 nothing waits any more, 2 conf is not legal or lacks a secret, 75 something waits."""
    parser = argparse.ArgumentParser(prog="send_alerts", allow_abbrev=False)
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)
    waiting = []

    def action() -> None:
        environment = settings.load_environment(given.env)
        done = alerts.deliver_all(settings.home(), alert_receivers.receivers(environment.alerts))
        log.info("sent=%d waiting=%d put_aside=%d", done.sent, done.waiting, done.put_aside)
        for fault in done.faults:
            log.warning("%s", fault)
        waiting.extend([done.waiting] if done.waiting else [])

    code = cli.ended(action)
    if code == cli.DONE and waiting:
        return cli.fail(
            cli.TEMPORARY, f"temporary: {waiting[0]} alerts wait for a receiver; the next round tries again"
        )
    return code


if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    sys.exit(main(sys.argv[1:]))
