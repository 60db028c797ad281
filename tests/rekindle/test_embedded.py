"""The embedded server trusts nobody, comes back after any death, and minds its own files and port."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rekindle import embedded, settings
from rekindle.embedded import EmbeddedError


def ask(home: Path, role: str = "owner", password: str | None = None) -> Any:
    """The server's version number, asked over TCP with a password."""
    secret = (home / "secrets" / f"postgres_{role}").read_text() if password is None else password
    with psycopg.connect(
        host="127.0.0.1", port=embedded.port(home), dbname="postgres", user=role, password=secret, connect_timeout=5
    ) as conn:
        return conn.info.server_version // 10_000


def postmaster(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().split()[0])


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_server_lives_through_restart_kill_and_lost_port(home: Path) -> None:
    """One server's life: starting costs most of this test, so its sentences share one."""
    # many at once make one server
    threads = [threading.Thread(target=embedded.start, args=(home,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask(home) == 18
    first, port = postmaster(home), embedded.port(home)

    # starting a running one changes nothing
    embedded.start(home)
    assert (postmaster(home), embedded.port(home)) == (first, port)

    # killed: started again, on the port clients know, with what was committed
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    assert not embedded.running(home)
    embedded.start(home)
    assert ask(home) == 18
    assert embedded.port(home) == port
    second = postmaster(home)
    assert second != first

    # stopped twice is stopped once
    embedded.stop(home)
    embedded.stop(home)
    assert gone(second)

    # a left-over pid file that names somebody else's process, and a port that somebody took meanwhile
    data = home / "postgres/data"
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1700000000\n{port}\n\n127.0.0.1\n\nready\n")
    with socket.socket() as thief:
        # as every server does: connections that the last one closed a moment ago still hold the port
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen(1)
        embedded.start(home)
        assert ask(home) == 18
        assert embedded.port(home) != port
    assert os.getpid() != postmaster(home)


def test_every_way_in_asks_for_a_password(environment: settings.Environment) -> None:
    home = environment.warehouse.secrets.parent
    rules = [
        line.split()
        for line in (home / "postgres/data/pg_hba.conf").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules
    assert {rule[-1] for rule in rules} == {"scram-sha-256"}
    for role in embedded.ROLES:
        for wrong in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                ask(home, role, wrong)
    with psycopg.connect(
        host="127.0.0.1",
        port=embedded.port(home),
        dbname="postgres",
        user="owner",
        password=(home / "secrets/postgres_owner").read_text(),
    ) as conn:
        kinds = conn.execute("SELECT DISTINCT left(rolpassword, 13) FROM pg_authid WHERE rolcanlogin").fetchall()
        ways = conn.execute("SELECT DISTINCT auth_method, error FROM pg_hba_file_rules").fetchall()
    assert kinds == [("SCRAM-SHA-256",)]
    assert ways == [("scram-sha-256", None)]


def test_it_listens_on_loopback_only_and_has_no_socket(environment: settings.Environment) -> None:
    home = environment.warehouse.secrets.parent
    port = f"{embedded.port(home):04X}"
    listening = [line.split()[1] for name in ("tcp", "tcp6") for line in _proc_net(name) if line.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]
    assert not list(home.rglob(".s.PGSQL*"))
    assert not Path(f"/tmp/.s.PGSQL.{embedded.port(home)}").exists()  # noqa: S108 (where PostgreSQL would put it)


def _proc_net(name: str) -> list[str]:
    path = Path("/proc/net") / name
    return path.read_text().splitlines()[1:] if path.exists() else []


def test_secrets_are_long_distinct_and_for_their_owner_only(environment: settings.Environment) -> None:
    folder = environment.warehouse.secrets
    files = [folder / f"postgres_{role}" for role in embedded.ROLES]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in files} == {0o600}
    texts = {f.read_text() for f in files}
    assert len(texts) == len(embedded.ROLES)
    assert min(map(len, texts)) >= 32
    left = [p.name for p in (folder.parent / "postgres").iterdir() if "password" in p.name]
    assert left == [], "initdb's copy of the password is gone"
    log = (folder.parent / "postgres/data/server.log").read_text(errors="replace")
    assert not any(text in log for text in texts)


def test_a_failed_statement_leaves_no_values_in_the_log(environment: settings.Environment) -> None:
    home = environment.warehouse.secrets.parent
    secret = (home / "secrets/postgres_owner").read_text()
    with (
        psycopg.connect(
            host="127.0.0.1", port=embedded.port(home), dbname="postgres", user="owner", password=secret
        ) as conn,
        pytest.raises(psycopg.DataError),
    ):
        conn.execute("SELECT %s::text::int", ["canary-person"])
    assert "canary-person" not in (home / "postgres/data/server.log").read_text(errors="replace")


def test_a_cluster_whose_password_is_gone_is_told_with_what_to_do(home: Path) -> None:
    (home / "postgres/data").mkdir(parents=True)
    (home / "postgres/data/PG_VERSION").write_text("18\n")
    with pytest.raises(EmbeddedError, match=r"postgres_owner is gone.*restore it, or delete"):
        embedded.start(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server is another user")
def test_a_folder_the_servers_user_may_not_enter_is_named(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=f"may not enter {closed} .*chmod o\\+x {closed}"):
        embedded.start(closed / "state")


@pytest.mark.parametrize("text", ["", "many"])
def test_a_port_file_that_holds_no_port_is_named(home: Path, text: str) -> None:
    (home / "postgres").mkdir()
    (home / "postgres/port").write_text(text)
    with pytest.raises(EmbeddedError, match=f"port holds '{text}', expected a port number"):
        embedded.port(home)


def test_a_server_that_cannot_start_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment_of: Callable[..., Any]
) -> None:
    assert environment_of
    monkeypatch.setattr(embedded, "CONF", embedded.CONF + "shared_buffers = 'lots'\n")
    monkeypatch.setattr(embedded, "START_ATTEMPTS", 1)
    with pytest.raises(EmbeddedError, match=r"did not start: .*shared_buffers"):
        embedded.start(home)
    assert not embedded.running(home)
