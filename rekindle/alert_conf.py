"""Who hears of what, and by when a night has to be published: the block `alerts` of conf/environments.

It stands there and not with the sources: it is no part of the run id, and test and production have other receivers.
"""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rekindle.addresses import Host, Mailbox, OneLine, WebhookUri
from rekindle.sources import Name, Strict

Port = Annotated[int, Field(ge=1, le=65535)]


class Mail(Strict):
    """A mail server and whom it writes to.

    `security`: `starttls` (the usual one, port 587), `tls` from the first byte (port 465), or `none`, for a server on
    the same machine; then there is no login. `ca_file` are the certificates it is checked by, where it is not the
    system's. The password is read from its file when mail is sent.
    """

    host: Host
    port: Port
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: Path | None = None
    user: OneLine | None = None
    password_file: Path | None = None
    sender: Mailbox
    to: Annotated[tuple[Mailbox, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _login(self) -> Mail:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file: both, or neither")
        if self.user is not None and self.security == "none":
            raise ValueError("security: none would send the password in clear text; expected starttls or tls")
        return self


class Webhook(Strict):
    """An address that takes a POST of JSON (keys `text`, `id`, `title`, `what`, `why`, `to_do`, `link`).

    `text` alone is what Slack, Mattermost and their like show. Where the address itself is the secret, as theirs is,
    it stands in `url_file`; `token_file` is sent as a bearer token.
    """

    url: WebhookUri | None = None
    url_file: Path | None = None
    token_file: Path | None = None

    @model_validator(mode="after")
    def _one_address(self) -> Webhook:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("expected one of url and url_file")
        return self


class Freshness(Strict):
    """The sources that must have a publication of their last night at the hour `by` of their own clock."""

    by: time = time(7, 30)
    sources: tuple[Name, ...] = ()


class Alerts(Strict):
    """Receivers of alerts, each optional, and what freshness is. `timeout_seconds`: for one answer of a receiver."""

    mail: Mail | None = None
    webhook: Webhook | None = None
    freshness: Freshness = Freshness()
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5
