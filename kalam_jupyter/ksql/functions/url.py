"""Functions of URLs (function contract section 7): RFC 2396 as java.net.URI reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote_plus, unquote_to_bytes

from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values.errors import EvaluationError

functions = Library("URL")

_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?\Z", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
#: Characters of a URI: unreserved, reserved (with [ and ] of IPv6 hosts aside), escapes, and any beyond
#: ASCII but blanks.
_LEGAL = re.compile(
    r"(?:[A-Za-z0-9_.!~*'();/?:@&=+$,\[\]-]|%[0-9A-Fa-f]{2}|(?![\s\u0080-\u009f])[^\x00-\x7f])*\Z"
)
_NO_BRACKETS = re.compile(r"[^\[\]]*\Z")
_SERVER = re.compile(r"(?:[^@]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]]*)(?::(?P<port>[0-9]*))?\Z")
_HOST = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?"
    r"|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\])\Z"
)


@dataclass(frozen=True)
class Url:
    """Decoded parts of a URL; None where it has none."""

    protocol: str | None
    host: str | None
    port: int | None
    path: str | None
    query: str | None
    fragment: str | None


def _decode(part: str | None) -> str | None:
    return None if part is None else unquote_to_bytes(part.encode("utf-8")).decode("utf-8", "replace")


@lru_cache(1024)
def parse_url(text: str) -> Url:
    """Split a URL; EvaluationError for a syntax that RFC 2396 does not know."""
    match = _PARTS.match(text)
    assert match is not None
    scheme, authority, path, query, fragment = match.groups()
    parts = (path, query, fragment)
    legal = all(
        p is None or (_LEGAL.match(p) and (p is query or p is fragment or _NO_BRACKETS.match(p)))
        for p in parts
    )
    if not legal or (authority is not None and not _LEGAL.match(authority)):
        raise EvaluationError(f"URL input has invalid syntax: {text}")
    if scheme is not None and not _SCHEME.match(scheme):
        raise EvaluationError(f"URL input has an illegal scheme: {text}")
    if scheme is not None and not authority and not path and query is None:
        raise EvaluationError(f"URL input has no scheme-specific part: {text}")
    if authority == "" and not path:
        raise EvaluationError(f"URL input has no authority: {text}")
    if scheme is not None and authority is None and not path.startswith("/"):
        return Url(scheme, None, None, None, None, _decode(fragment))
    host, port = _server(authority)
    return Url(scheme, host, port, _decode(path), _decode(query), _decode(fragment))


def _server(authority: str | None) -> tuple[str | None, int | None]:
    """Return host and port; (None, None) for a registry-based authority."""
    match = _SERVER.match(authority or "")
    if not match or not _HOST.match(match["host"]):
        return None, None
    return match["host"], int(match["port"]) if match["port"] else None


_URL = "https://me@h.example:8080/a%20b?x=1&y=a%2Bb#top"


@functions.scalar(
    "url_extract_protocol(url STRING) -> STRING", examples=[(f"URL_EXTRACT_PROTOCOL('{_URL}')", "https")]
)
def url_extract_protocol(url: str) -> str | None:
    """Scheme of a URL as written; NULL if it has none. Bad syntax fails."""
    return parse_url(url).protocol


@functions.scalar(
    "url_extract_host(url STRING) -> STRING", examples=[(f"URL_EXTRACT_HOST('{_URL}')", "h.example")]
)
def url_extract_host(url: str) -> str | None:
    """Host of a URL; NULL if it has none. Bad syntax fails."""
    return parse_url(url).host


@functions.scalar("url_extract_port(url STRING) -> INT", examples=[(f"URL_EXTRACT_PORT('{_URL}')", "8080")])
def url_extract_port(url: str) -> int | None:
    """Port of a URL; NULL if it has none. Bad syntax fails."""
    return parse_url(url).port


@functions.scalar(
    "url_extract_path(url STRING) -> STRING", examples=[(f"URL_EXTRACT_PATH('{_URL}')", "/a b")]
)
def url_extract_path(url: str) -> str | None:
    """Decoded path of a URL, which may be empty; NULL for ``mailto:`` and the like. Bad syntax fails."""
    return parse_url(url).path


@functions.scalar(
    "url_extract_query(url STRING) -> STRING", examples=[(f"URL_EXTRACT_QUERY('{_URL}')", "x=1&y=a+b")]
)
def url_extract_query(url: str) -> str | None:
    """Decoded query of a URL; NULL if it has none. Bad syntax fails."""
    return parse_url(url).query


@functions.scalar(
    "url_extract_fragment(url STRING) -> STRING", examples=[(f"URL_EXTRACT_FRAGMENT('{_URL}')", "top")]
)
def url_extract_fragment(url: str) -> str | None:
    """Decoded fragment of a URL; NULL if it has none. Bad syntax fails."""
    return parse_url(url).fragment


@functions.scalar(
    "url_extract_parameter(url STRING, name STRING) -> STRING",
    examples=[("URL_EXTRACT_PARAMETER('https://h/p?a%20b=c%20d', 'a b')", "c d")],
)
def url_extract_parameter(url: str, name: str) -> str | None:
    """Value of a query parameter, by its exact name; empty if it has no ``=``, NULL if there is none."""
    for part in (parse_url(url).query or "").split("&"):
        key, _, value = part.partition("=")
        if key == name and part:
            return value
    return None


@functions.scalar(
    "url_encode_param(text STRING) -> STRING", examples=[("URL_ENCODE_PARAM('a b&c')", "a+b%26c")]
)
def url_encode_param(text: str) -> str:
    """The text in form encoding: blanks as ``+``, all but letters, digits and ``-_.*`` as ``%XX``."""
    return quote_plus(text, safe="*").replace("~", "%7E")


_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*\Z", re.DOTALL)


@functions.scalar(
    "url_decode_param(text STRING) -> STRING", examples=[("URL_DECODE_PARAM('a+b%26c')", "a b&c")]
)
def url_decode_param(text: str) -> str:
    """The text of a form encoding; malformed ``%`` escapes fail."""
    if not _ESCAPES.match(text):
        raise EvaluationError(f"Illegal hex characters in escape (%) pattern of '{text}'")
    return unquote_to_bytes(text.replace("+", " ").encode("utf-8")).decode("utf-8", "replace")
