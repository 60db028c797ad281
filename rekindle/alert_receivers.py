"""The receivers of alerts: a mail server and a webhook, with short time limits, a few tries, and no secret in any text.

What an alert says comes from logs, and so from whatever a shop's file holds: it is plain text here, in a mail's body or
in a JSON string, one line in a subject, and never markup, a header or an address.
"""

from __future__ import annotations

import json
import re
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenacity import retry, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential

from rekindle import settings, spark_conf
from rekindle.alert_conf import Alerts, Mail, Webhook
from rekindle.alerts import Deliver, Letter, LetterRefused, ReceiverDown

LONGEST_SUBJECT = 150
# Two more tries after 0.5 s and 1 s, but none after a time limit ran out: the next round is the next try.
TRIES = 3
PATIENCE = 4

again = retry(
    retry=retry_if_exception_type(ReceiverDown),
    stop=stop_after_attempt(TRIES) | stop_after_delay(PATIENCE),
    wait=wait_exponential(multiplier=0.5, max=2),
    reraise=True,
)


def one_line(text: str, longest: int) -> str:
    """The text as one line of printable characters, cut where it is too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def plain(text: str) -> str:
    """The text with its line ends, without other control characters."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text.replace("\r", "\n"))


def body(letter: Letter) -> str:
    """What a person reads: what failed, why, what to do, and where."""
    parts = [
        ("What", letter.what), ("Why", letter.why), ("What to do", letter.to_do), ("Where", letter.link or ""),
    ]  # fmt: skip
    return "\n\n".join(f"{title}: {plain(text).strip()}" for title, text in parts if text.strip()) + "\n"


def message(letter: Letter, mail: Mail) -> EmailMessage:
    """The letter as a mail; its id makes it the same mail if it ever comes twice."""
    made = EmailMessage(policy=SMTP)
    made["From"] = mail.sender
    made["To"] = ", ".join(mail.to)
    made["Subject"] = one_line(f"[Rekindle] {letter.title}", LONGEST_SUBJECT)
    made["Message-ID"] = f"<{letter.id}@rekindle.invalid>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(body(letter))
    return made


@again
def send_mail(letter: Letter, mail: Mail, timeout: float) -> None:
    """Hand the letter to the mail server, for all receivers at once.

    Raises:
        ReceiverDown: no connection, no TLS, no login, or the server says later.
        LetterRefused: the server does not take this mail.
    """
    trust = ssl.create_default_context(cafile=str(mail.ca_file) if mail.ca_file else None)
    try:
        with _connected(mail, timeout, trust) as server:
            if mail.user is not None and mail.password_file is not None:
                server.login(mail.user, spark_conf.secret(mail.password_file))
            refused = server.send_message(message(letter, mail), mail.sender, list(mail.to))
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as error:
        code = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else max(
            (code for code, _ in error.recipients.values()), default=500
        )  # fmt: skip
        if 400 <= code < 500:
            raise ReceiverDown(f"the mail server answers {code}") from None
        raise LetterRefused(f"the mail server answers {code}") from None
    except (OSError, smtplib.SMTPException) as error:
        # Its text may hold what was sent, the password among it; its kind says enough.
        raise ReceiverDown(f"mail server {mail.host}:{mail.port}: {type(error).__name__}") from None
    if refused:
        raise LetterRefused(f"the mail server refuses {len(refused)} of {len(mail.to)} addresses")


def _connected(mail: Mail, timeout: float, trust: ssl.SSLContext) -> smtplib.SMTP:
    if mail.security == "tls":
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=timeout, context=trust)
    server = smtplib.SMTP(mail.host, mail.port, timeout=timeout)
    if mail.security == "starttls":
        server.starttls(context=trust)
    return server


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the address of conf and to no other."""

    def redirect_request(self, *told: Any) -> None:
        return None


def secret_url(path: Path) -> str:
    """The address that a file holds.

    Raises:
        SettingsError: it is no address, or another than of https (http on this machine); it is not told.
    """
    url = spark_conf.secret(path)
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme, parts.hostname) == ("http", "127.0.0.1")
    if not (is_safe and parts.hostname and re.fullmatch(r"[\x21-\x7e]+", url)):
        raise settings.SettingsError(f"{path}: expected one https address")
    return url


@again
def post(letter: Letter, webhook: Webhook, timeout: float) -> None:
    """POST the letter as JSON.

    Raises:
        ReceiverDown: no connection, or an answer of 408, 425, 429, or from 500 on.
        LetterRefused: another answer than 200 to 299.
    """
    url = str(webhook.url) if webhook.url_file is None else secret_url(webhook.url_file)
    escaped = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    told = letter.model_dump(mode="json", include={"id", "title", "what", "why", "to_do", "link"})
    # In a chat, <…> would be a link or a call of everybody.
    told["text"] = f"{one_line(letter.title, LONGEST_SUBJECT)}\n{body(letter)}".translate(escaped)
    request = urllib.request.Request(url, json.dumps(told).encode(), method="POST")  # noqa: S310 (conf allows http(s))
    request.add_header("Content-Type", "application/json")
    request.add_header("Idempotency-Key", letter.id)
    if webhook.token_file is not None:
        request.add_unredirected_header("Authorization", f"Bearer {spark_conf.secret(webhook.token_file)}")
    # No proxy of this machine's environment: the address is the one of conf.
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout):
            return
    except urllib.error.HTTPError as error:
        if error.code in (408, 425, 429) or error.code >= 500:
            raise ReceiverDown(f"the webhook answers {error.code}") from None
        raise LetterRefused(f"the webhook answers {error.code}") from None
    except (OSError, HTTPException) as error:
        # Its text may hold the address, which may be the secret.
        raise ReceiverDown(f"webhook: {type(error).__name__}") from None


def receivers(alerts: Alerts) -> dict[str, Deliver]:
    """Those that conf names, by their name."""
    found: dict[str, Callable[[Letter], None]] = {}
    if alerts.mail is not None:
        found["mail"] = partial(send_mail, mail=alerts.mail, timeout=alerts.timeout_seconds)
    if alerts.webhook is not None:
        found["webhook"] = partial(post, webhook=alerts.webhook, timeout=alerts.timeout_seconds)
    return found
