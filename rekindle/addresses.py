"""Addresses in conf that reach a driver, a server or a command line: nothing rides along in them.

A JDBC address can name a class to load (`socketFactory=`), a file to write (`loggerFile=`), or objects to read back
(`autoDeserialize=true`); a line feed in a Spark setting would be another argument of spark-submit. So these are not
free texts: what is legal is listed here, and the rest is refused when conf is read.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator

from rekindle.conf_faults import FaultsBelow

# What an option of the lake's catalog may be, and its value. Secrets are not among them: they come from files.
CATALOG_OPTIONS = {
    "busy_timeout": r"\d{1,9}",
    "sslmode": r"disable|allow|prefer|require|verify-ca|verify-full",
    "sslrootcert": r"/[\w./-]+",
    "connectTimeout": r"\d{1,9}",
    "loginTimeout": r"\d{1,9}",
    "socketTimeout": r"\d{1,9}",
    "tcpKeepAlive": r"true|false",
    "ApplicationName": r"\w{1,63}",
    "targetServerType": r"any|primary",
}
# In angle brackets: what conf/environments/cluster.yaml leaves to be filled in.
_HOST = r"(?:<[\w ]+>|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])"
_HOSTS = rf"{_HOST}(?::\d{{1,5}})?(?:,{_HOST}(?::\d{{1,5}})?)*"
_FILE = r"/[^?#;&%\x00-\x1f\x7f]+"
_CATALOG = re.compile(rf"jdbc:(?:sqlite:{_FILE}|postgresql://{_HOSTS}/[a-z_][a-z0-9_]{{0,62}})")
_TRACKING = re.compile(rf"<[\w ]+>|sqlite:///{_FILE}|https?://{_HOST}(?::\d{{1,5}})?(?:/[\w./-]*)?")
# Plain http only on this machine: a token would travel in clear text.
_WEBHOOK = re.compile(
    rf"<[\w ]+>|https://{_HOST}(?::\d{{1,5}})?(?:/[\w./~-]*)?|http://(?:127\.0\.0\.1|localhost)(?::\d{{1,5}})?(?:/[\w./~-]*)?"
)
_MAILBOX = re.compile(r"<[\w ]+>|[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SETTING = re.compile(r"spark(?:\.[A-Za-z0-9_-]+)+")


def _untold(sentence: str) -> FaultsBelow:
    """The fault without the address that was found: people write passwords into addresses."""
    return FaultsBelow([((), sentence)])


def _catalog(uri: str) -> str:
    address, _, told = uri.partition("?")
    if not _CATALOG.fullmatch(address):
        raise _untold("expected jdbc:sqlite:/<file> or jdbc:postgresql://<host>:<port>/<database>")
    faults = []
    for option in told.split("&") if "?" in uri else ():
        name, _, value = option.partition("=")
        if name not in CATALOG_OPTIONS:
            faults.append(f"option {unquote(name)!r} is not allowed; legal: {', '.join(CATALOG_OPTIONS)}")
        elif not re.fullmatch(CATALOG_OPTIONS[name], value):
            faults.append(f"option {name} has another value than {CATALOG_OPTIONS[name]}")
    if faults:
        raise _untold("; ".join(faults))
    return uri


def _tracking(uri: str) -> str:
    if not _TRACKING.fullmatch(uri):
        raise _untold("expected sqlite:///<file> or http(s)://<host>:<port>, without user, query or fragment")
    return uri


def _webhook(uri: str) -> str:
    if not _WEBHOOK.fullmatch(uri):
        raise _untold("expected https://<host>/<path>, without user, query or fragment; http only for 127.0.0.1")
    return uri


def _mailbox(address: str) -> str:
    if not _MAILBOX.fullmatch(address):
        raise ValueError("expected one mail address, as in growth@shop.example")
    return address


def _host(name: str) -> str:
    if not re.fullmatch(_HOST, name):
        raise ValueError("expected the name or address of one host")
    return name


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("expected one line without control characters")
    return text


def _setting(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ValueError("expected the name of a Spark setting, as in spark.driver.memory")
    return name


CatalogUri = Annotated[str, AfterValidator(_catalog)]
TrackingUri = Annotated[str, AfterValidator(_tracking)]
WebhookUri = Annotated[str, AfterValidator(_webhook)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Host = Annotated[str, AfterValidator(_host)]
OneLine = Annotated[str, AfterValidator(_one_line)]
SparkSetting = Annotated[str, AfterValidator(_setting)]
