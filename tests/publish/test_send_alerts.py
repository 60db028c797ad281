"""Alerts reach a mail server and a webhook once each, also if those are down for a while, and are nothing but text."""

from __future__ import annotations

import email
import email.policy
import json
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from tenacity import wait_none

from jobs.publish import send_alerts
from rekindle import alert_receivers, alerts, settings
from rekindle.alert_conf import Alerts
from tests.publish.small_receivers import Got, mail_server, webhook

SECRET = "s3cret-of-the-shop"
Conf = Callable[..., None]


def letter(number: int, **told: str) -> alerts.Letter:
    texts = {"title": f"night {number}", "what": "A task is red.", "why": "found 0 rows", "to_do": "Clear the task."}
    return alerts.Letter(id=f"{number:032x}", **(texts | told))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lying(home: Path, folder: str) -> list[str]:
    return sorted(path.stem[-2:] for path in (home / "alerts" / folder).glob("*.json"))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REKINDLE_HOME", str(tmp_path))
    for function in (alert_receivers.send_mail, alert_receivers.post):
        monkeypatch.setattr(function.retry, "wait", wait_none())
    for name in ("token", "password"):
        (tmp_path / name).write_text(SECRET)
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def conf(state: Path, monkeypatch: pytest.MonkeyPatch) -> Conf:
    """Sets the receivers of the environment."""
    real = settings.load_environment("local")

    def use(**receivers: dict[str, Any]) -> None:
        told = Alerts.model_validate({"timeout_seconds": 2} | receivers)
        monkeypatch.setattr(settings, "load_environment", lambda name: real.model_copy(update={"alerts": told}))

    return use


def mail(port: int, **more: Any) -> dict[str, Any]:
    told = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "rekindle@shop.example"}
    return told | {"to": ["ana@shop.example", "eva@shop.example"]} | more


def hook(port: int, **more: Any) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{port}/alerts", **more}


def test_what_a_receiver_that_was_down_did_not_take_arrives_once_when_it_is_up(
    state: Path, conf: Conf, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    smtp, http = free_port(), free_port()
    conf(mail=mail(smtp), webhook=hook(http, token_file=state / "token"))
    for number in range(3):
        assert alerts.put(state, letter(number))
    assert send_alerts.main([]) == 75
    assert capsys.readouterr().err == "error: temporary: 3 alerts wait for a receiver; the next round tries again\n"
    assert lying(state, "spool") == ["00", "01", "02"]
    with webhook(http) as (_, posted):
        assert send_alerts.main([]) == 75
        assert [body["title"] for _, body in posted.posts] == ["night 0", "night 1", "night 2"]
        assert not alerts.put(state, letter(1)), "told twice is told once"
        with mail_server(smtp) as (_, got):
            assert send_alerts.main([]) == 0
            assert send_alerts.main([]) == 0
            assert not alerts.put(state, letter(1)), "also when it was sent"
            assert send_alerts.main([]) == 0
            assert [receivers for receivers, _ in got.mails] == [["ana@shop.example", "eva@shop.example"]] * 3
        assert len(posted.posts) == 3
    headers, body = posted.posts[0]
    assert (headers["Authorization"], headers["Idempotency-Key"]) == (f"Bearer {SECRET}", f"{0:032x}")
    assert body["text"].startswith("night 0\nWhat: A task is red.\n\nWhy: found 0 rows\n\nWhat to do: Clear the task.")
    assert (lying(state, "spool"), lying(state, "sent")) == ([], ["00", "01", "02"])
    assert SECRET not in caplog.text
    assert "mail is down" in caplog.text


HOSTILE = (
    "x\r\nBcc: thief@shop.example\r\n\r\n<script>alert(1)</script>",
    "\r\n.\r\nMAIL FROM:<thief@shop.example>\r\nRCPT TO:<thief@shop.example>\r\nDATA\r\n",
    "<b onload=x>&amp;</b> <!channel> \x00\x1b[31m\x7f {{ 7 * 7 }} %s %(x)s ${HOME}",
    "\u2028\u202e" + "é" * 30_000,
)


def test_a_hostile_text_stays_text(state: Path, conf: Conf) -> None:
    with mail_server() as (smtp, got), webhook() as (http, posted):
        conf(mail=mail(smtp), webhook=hook(http))
        for number, text in enumerate(HOSTILE):
            cut = text[:20_000]
            alerts.put(state, letter(number, title=cut, why=cut, what=cut, to_do=cut))
        assert send_alerts.main([]) == 0
    assert (len(got.mails), len(posted.posts)) == (len(HOSTILE), len(HOSTILE))
    for receivers, text in got.mails:
        assert receivers == ["ana@shop.example", "eva@shop.example"]
        read = email.message_from_string(text, policy=email.policy.default)
        wanted = {"From", "To", "Subject", "Message-ID", "Auto-Submitted", "Content-Type", "MIME-Version"}
        assert set(read.keys()) <= wanted | {"Content-Transfer-Encoding"}
        assert read.get_content_type() == "text/plain"
        assert len(read["Subject"]) <= 150
        assert not {c for c in read.get_content().replace("\r\n", "\n") if not c.isprintable()} - {"\n"}
    for (_, body), text in zip(posted.posts, HOSTILE, strict=True):
        assert body["why"] == text[:20_000]
        assert "<" not in body["text"]


def test_a_login_is_encrypted_and_its_password_in_no_text(
    state: Path, conf: Conf, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = own_certificate(state)
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificate)
    login = {"user": "growth", "password_file": state / "password", "security": "starttls", "ca_file": certificate}
    with mail_server(trust=trust, password=SECRET) as (smtp, got):
        conf(mail=mail(smtp, **login))
        alerts.put(state, letter(1))
        assert send_alerts.main([]) == 0
        assert (len(got.mails), got.logins) == (1, [f"\0growth\0{SECRET}"])
        alerts.put(state, letter(2))
        conf(mail=mail(smtp, **login | {"ca_file": None}))
        assert send_alerts.main([]) == 75, "a server that nobody vouches for gets no password"
    with mail_server(trust=trust, password="another") as (smtp, got):
        conf(mail=mail(smtp, **login))
        assert send_alerts.main([]) == 75
        (state / "password").chmod(0o644)
        assert send_alerts.main([]) == 2
        assert got.mails == []
    told = caplog.text + "".join(capsys.readouterr())
    assert "mode 644" in told
    assert SECRET not in told


def own_certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 and its key in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def test_a_letter_that_is_refused_holds_up_no_other_and_is_put_aside_in_the_end(
    state: Path, conf: Conf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MOST_TRIES", 2)
    for number in range(3):
        alerts.put(state, letter(number))
    (state / "alerts" / "spool" / "zz.json").write_text('{"id": "../../x", "title": 1}')
    with webhook() as (http, posted):
        conf(webhook=hook(http, token_file=state / "token"))
        # Refused, and led elsewhere: the token goes nowhere else, and nothing is fetched from there.
        posted.codes = [400, 302]
        assert send_alerts.main([]) == 75
        assert [body["id"][-2:] for _, body in posted.posts] == ["02"]
        posted.codes = [400]
        assert send_alerts.main([]) == 0
        assert [body["id"][-2:] for _, body in posted.posts] == ["02", "01"]
    assert (lying(state, "spool"), lying(state, "sent"), lying(state, "refused")) == ([], ["01", "02"], ["00", "zz"])


def test_a_server_that_says_later_is_asked_again_at_once_and_then_later(state: Path, conf: Conf) -> None:
    alerts.put(state, letter(1))
    alerts.put(state, letter(2))
    with mail_server() as (smtp, got):
        conf(mail=mail(smtp))
        got.codes = [451, 250]
        assert send_alerts.main([]) == 0
        alerts.put(state, letter(3))
        got.codes = [554]
        assert send_alerts.main([]) == 75
        assert send_alerts.main([]) == 0
    assert len(got.mails) == 3


def test_the_postman_as_a_red_task_starts_it_reads_conf_and_says_no_secret(state: Path) -> None:
    """A process of its own, as dags/_alerts.py starts it: the installation's conf, the secret from its file."""
    shutil.copytree(settings.ROOT / "conf" / "environments", state / "conf" / "environments")
    alerts.put(state, letter(1))
    with webhook() as (http, posted):
        told = yaml.safe_load((state / "conf/environments/local.yaml").read_text())
        told["alerts"] = {"webhook": hook(http, token_file="{home}/token")}
        (state / "conf/environments/local.yaml").write_text(yaml.safe_dump(told))
        done = subprocess.run(
            [sys.executable, settings.ROOT / "jobs/publish/send_alerts.py", "--env", "local"],
            cwd=settings.ROOT,
            env=os.environ | {"PYTHONPATH": str(settings.ROOT), "REKINDLE_CONF": str(state / "conf")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == "INFO send_alerts sent=1 waiting=0 put_aside=0\n"
    [(headers, _)] = posted.posts
    assert headers["Authorization"] == f"Bearer {SECRET}"


def test_two_who_deliver_at_once_bring_each_letter_once(state: Path) -> None:
    for number in range(20):
        alerts.put(state, letter(number))
    brought: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        rounds = list(
            pool.map(lambda _: alerts.deliver_all(state, {"x": lambda one: brought.append(one.id)}), range(8))
        )
    assert sorted(brought) == [f"{number:032x}" for number in range(20)]
    assert sum(one.sent for one in rounds) == 20
    # A letter that a callback wrote while it was being sent is not sent again.
    twice = state / "alerts" / "spool" / f"{1:032x}.json"
    shutil.copy(state / "alerts" / "sent" / twice.name, twice)
    assert alerts.deliver_all(state, {"x": lambda one: brought.append(one.id)}).waiting == 0
    assert (len(brought), twice.exists()) == (20, False)


def test_without_a_receiver_nothing_waits(state: Path, conf: Conf) -> None:
    conf()
    alerts.put(state, letter(1))
    assert send_alerts.main([]) == 0
    assert lying(state, "sent") == ["01"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"mail": mail(25, to=["a@b\nBcc: c@d"])}, "one mail address"),
        ({"mail": mail(25, user="x")}, "both, or neither"),
        ({"mail": mail(25, user="x", password_file="/x")}, "in clear text"),
        ({"webhook": {"url": "http" + "://shop.example/x"}}, "expected https"),
        ({"webhook": {"url": "file:///etc/passwd"}}, "expected https"),
        ({"webhook": {}}, "one of url and url_file"),
        ({"freshness": {"by": "25:00"}}, "time"),
        ({"freshness": {"sources": ["../x"]}}, "pattern"),
    ],
)
def test_conf_that_would_send_elsewhere_or_in_clear_text_is_refused(told: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Alerts.model_validate(told)


def test_an_address_in_a_file_is_one_of_https(state: Path, conf: Conf, capsys: pytest.CaptureFixture[str]) -> None:
    alerts.put(state, letter(1))
    (state / "token").write_text("file:///etc/" + SECRET)
    conf(webhook={"url_file": state / "token"})
    assert send_alerts.main([]) == 2
    assert SECRET not in capsys.readouterr().err
    with webhook() as (http, posted):
        (state / "token").write_text(f"http://127.0.0.1:{http}/{SECRET}")
        assert send_alerts.main([]) == 0
    assert isinstance(posted, Got)
    assert json.dumps(posted.posts[0][1]).count(SECRET) == 0
