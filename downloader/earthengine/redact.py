"""Make foreign text fit to be shown: one short line without secrets."""

from __future__ import annotations

import html
import json
import re
from collections import deque
from typing import Final
from urllib.parse import quote

MAX_CHARACTERS: Final = 300
"""Characters after which texts are cut; the service's own messages are rarely longer."""

_READ: Final = 16_384
"""Characters that are looked at: a page has its message near the top."""

_HIDDEN: Final = "[hidden]"

_SECRETS: Final = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=Bearer )\s*[^\s\"',;]+", re.IGNORECASE),
    re.compile(r"\bya29\.[\w.-]{1,4000}"),  # Google's access tokens
    re.compile(r"\b1//[\w-]{20,1000}"),  # Google's refresh tokens
    re.compile(r"\beyJ[\w-]{4,4000}\.[\w-]{1,4000}(?:\.[\w-]{0,4000})?"),  # JSON web tokens
    re.compile(
        r"(?i)(?<![a-z])(?P<kept>(?:(?:access|refresh|id|auth|oauth|security)[_-]?token|token|api[_-]?key|key|sig|signature"
        r"|x-(?:goog|amz)-(?:signature|credential|security-token)|awsaccesskeyid|googleaccessid|client[_-]?secret"
        r"|private[_-]?key|assertion|password|passwd)[\"']?\s*"
        # A colon stands in prose as well ("invalid_token: expired"): behind it only what is long is a secret.
        r"(?:=\s*[\"']?|:\s*[\"']?(?=[^\s&\"',;]{12})))[^\s&\"',;]{4,4000}"
    ),
    re.compile(
        r"(?P<kept>\b[a-z][a-z0-9+.-]{0,20}://)[^/\s:@]{0,200}:[^/\s@]{1,2000}(?=@)", re.IGNORECASE
    ),  # user:password@host
)

_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_INVISIBLE: Final = re.compile(
    r"<(script|style|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*>", re.IGNORECASE | re.DOTALL
)


_IN_USE: Final[deque[str]] = deque(maxlen=64)
"""The spellings of the last tokens in use, newest first."""

_SHORTEST_TOKEN: Final = 8
"""Length of the shortest token that is hidden; shorter texts may be words."""


def hide(token: str) -> None:
    """Redact `token` from now on, as it is, in JSON and in URLs."""
    if len(token) >= _SHORTEST_TOKEN and token not in _IN_USE:
        _IN_USE.extendleft(dict.fromkeys((quote(token, safe=""), json.dumps(token)[1:-1], token)))


def redact(text: str) -> str:
    """Return `text` without tokens in use, bearer tokens, keys, passwords, signatures of URLs and private keys."""
    for token in tuple(_IN_USE):
        text = text.replace(token, _HIDDEN)
    for pattern in _SECRETS:
        text = pattern.sub(lambda match: (match.groupdict().get("kept") or "") + _HIDDEN, text)
    return text


def readable(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return `text` on one line of at most `limit` characters; of an HTML page what a reader would see of it."""
    text = redact(text[: 2 * _READ])[:_READ]  # first: a secret that is cut is not recognised
    if re.match(r"\s*<(?:!doctype|html|head|body|\?xml)", text, re.IGNORECASE):
        text = _page(text)
    line = " ".join("".join(c if c.isprintable() else " " for c in redact(text)).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _page(page: str) -> str:
    title = _TITLE.search(page)
    body = " ".join(html.unescape(_INVISIBLE.sub(" ", page)).split())
    heading = " ".join(html.unescape(title.group(1)).split()) if title else ""
    return (
        body if heading and body.startswith(heading) else ": ".join(part for part in (heading, body) if part)
    )
