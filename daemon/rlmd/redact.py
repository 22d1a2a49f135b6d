"""Secrets in texts that are about to be kept: found by their known shapes, else by what names them.

Rules of our own: the kept detectors read files with plug-ins and bring an HTTP client and a YAML
parser with them (docs/decisions/0019).  What is replaced leaves its kind and a short hash, so that
two mentions of one secret can be told to be the same.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial

MARK = "[redacted:"
"""How every replacement begins."""

_KNOWN: tuple[tuple[str, str, re.Pattern[str]], ...] = tuple(
    (kind, telling, re.compile(pattern))
    for kind, telling, pattern in (
        (
            "private-key",
            "PRIVATE KEY",
            (
                r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,20000}?"
                r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
            ),
        ),
        ("aws-key-id", "A", r"\bA(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}\b"),
        ("github-token", "gh", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
        ("github-token", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{40,255}\b"),
        ("gitlab-token", "gl", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat)-[A-Za-z0-9_.-]{20,}"),
        ("anthropic-key", "sk-ant-", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
        ("openai-key", "sk-", r"\bsk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}"),
        ("slack-token", "xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("slack-token", "xapp-", r"\bxapp-\d-[A-Za-z0-9-]{10,}"),
        ("slack-webhook", "hooks.slack.com", r"https://hooks\.slack\.com/\w+/[A-Za-z0-9_/]{20,}"),
        ("stripe-key", "k_", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        ("stripe-key", "whsec_", r"\bwhsec_[A-Za-z0-9+/=]{20,}"),
        ("google-key", "AIza", r"\bAIza[A-Za-z0-9_-]{35}"),
        ("google-oauth", "ya29.", r"\bya29\.[A-Za-z0-9_-]{20,}"),
        ("google-oauth", "GOCSPX-", r"\bGOCSPX-[A-Za-z0-9_-]{20,}"),
        ("npm-token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("pypi-token", "pypi-", r"\bpypi-[A-Za-z0-9_-]{40,}"),
        ("huggingface-token", "hf_", r"\bhf_[A-Za-z0-9]{30,}\b"),
        ("sendgrid-key", "SG.", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
        ("twilio-key", "SK", r"\bSK[0-9a-f]{32}\b"),
        ("telegram-token", ":AA", r"\b\d{8,10}:AA[A-Za-z0-9_-]{32,}"),
        ("digitalocean-token", "_v1_", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
        ("vault-token", "hv", r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}"),
        ("age-key", "AGE-SECRET-KEY-", r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"),
        ("jwt", "eyJ", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
        ("azure-key", "AccountKey=", r"(?<=AccountKey=)[A-Za-z0-9+/]{40,}={0,2}"),
        ("azure-key", "SharedAccessKey=", r"(?<=SharedAccessKey=)[A-Za-z0-9+/]{30,}={0,2}"),
    )
)
"""Kind, what each secret of it holds, and its shape."""
_IN_URL = re.compile(r"(?<=://)([^\s/:@'\"<>\[\]{}$]*):([^\s/@'\"<>{}$]{3,})(?=@[\w.\[-])")
_HEADER = re.compile(r"(?i)(\b(?:bearer|basic|token)\s+)([A-Za-z0-9._~+/=-]{16,})")
_NAMED = re.compile(
    r"""(?ix)
    ((?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?key
        |credential|pwd)s?(?:[_-]?(?:id|key|value|\d{1,2}))?
     ["']? \s* (?::=|=>|=|:) \s* ["'`]?)
    ([^\s"'`,;()<>{}\[\]]{8,512})
    """
)
_CODE = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->)[A-Za-z_]\w*)+")
_RUN = re.compile(r"(?<![A-Za-z0-9+/_.=-])[A-Za-z0-9+/_-]{32,512}={0,2}(?![A-Za-z0-9+/_.-])")
_NAMED_BITS = 2.5
_UNNAMED_BITS = 4.5
_TELLING_RUN = 12
"""Paths and names are made of shorter parts than this."""
_NAMES = ("passw", "passphrase", "secret", "token", "key", "credential", "pwd")
_LONGEST_PLAIN_WORD = 15


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without the secrets that it held, and how many those were."""

    text: str
    count: int = 0


def redact(text: str) -> Redacted:
    """Replace whatever looks like a secret by `[redacted:KIND-HASH]`.

    Known formats first; then passwords in URLs, values that an assignment calls secret, and long
    runs that look random.  Hashes and identifiers of code are left alone.
    """
    lowered = text.lower()
    named = any(name in lowered for name in _NAMES)
    if not named and max(map(len, text.split()), default=0) <= _LONGEST_PLAIN_WORD:
        return Redacted(text)
    finder = _Finder()
    for kind, telling, pattern in _KNOWN:
        if telling in text:
            text = pattern.sub(partial(finder.replace_found, kind), text)
    if "://" in text:
        text = _IN_URL.sub(lambda found: f"{found[1]}:{finder.replace('url-password', found[2])}", text)
    text = _HEADER.sub(lambda found: found[1] + finder.unless_plain("authorization", found[2]), text)
    if named:
        text = _NAMED.sub(lambda found: found[1] + finder.unless_plain("named-secret", found[2]), text)
    text = _RUN.sub(lambda found: finder.if_random(found[0]), text)
    return Redacted(text, finder.count)


class _Finder:
    """Counts what it replaces; what was replaced already stays as it is."""

    def __init__(self) -> None:
        self.count = 0

    def replace_found(self, kind: str, found: re.Match[str]) -> str:
        return self.replace(kind, found[0])

    def replace(self, kind: str, secret: str) -> str:
        if secret.startswith(MARK):
            return secret
        self.count += 1
        told = hashlib.blake2b(secret.encode("utf-8", "replace"), digest_size=4).hexdigest()
        return f"{MARK}{kind}-{told}]"

    def unless_plain(self, kind: str, value: str) -> str:
        """Replace a value that is called secret, unless it reads as code: a name, a call, a place."""
        if MARK in value or _CODE.fullmatch(value) or _bits(value) < _NAMED_BITS:
            return value
        if not (_has_digit(value) or _is_odd(value)):
            return value
        return self.replace(kind, value)

    def if_random(self, run: str) -> str:
        """Replace a run that nothing names, if it mixes its characters as only chance does."""
        kinds = (str.isupper, str.islower, str.isdigit)
        mixed = all(any(map(test, run)) for test in kinds)
        digits = sum(map(str.isdigit, run))
        longest = max(map(len, re.split(r"[/_-]", run)))
        if mixed and _bits(run) >= _UNNAMED_BITS and digits * 16 >= len(run) and longest >= _TELLING_RUN:
            return self.replace("random", run)
        return run


def _has_digit(value: str) -> bool:
    return any(char.isdigit() for char in value)


def _is_odd(value: str) -> bool:
    return any(not (char.isalnum() or char in "_.-/:$\\") for char in value)


def _bits(text: str) -> float:
    """Return Shannon's entropy of a character of *text*, in bits."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())
