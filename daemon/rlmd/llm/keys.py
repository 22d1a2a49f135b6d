"""Where keys come from: a file, a credential of systemd, or the environment, never an argument.

A key is a text of one line that goes into a header; what is no such text is refused before it gets
there, for a refusal by the HTTP library would repeat it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from rlmd.errors import ConfigError

CREDENTIAL = "api-key"
"""Name of the key's file in $CREDENTIALS_DIRECTORY; see systemd.exec(5)."""

MOST_KEY_BYTES = 8_192
_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Key:
    """A secret and, for people, the place it came from."""

    secret: str = field(repr=False)
    origin: str


def key_in_file(path: str, *, private: bool = True) -> Key | None:
    """Read the key in *path*; None where there is no such file.

    Raises ConfigError, which never repeats the contents, for a file that cannot be read, holds no
    key, or (if *private*) may be read by other users.
    """
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MOST_KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{path}: the key cannot be read: {exc.strerror}") from exc
    if private and mode & 0o077:
        raise ConfigError(f"{path}: the key is open to other users; run: chmod 600 {path}")
    return Key(checked(text.decode("utf-8", "replace"), path), path)


def credential(env: Mapping[str, str]) -> Key | None:
    """Return the key that systemd handed over, which keeps it from other users itself."""
    directory = env.get("CREDENTIALS_DIRECTORY", "")
    if not os.path.isabs(directory):
        return None
    found = key_in_file(os.path.join(directory, CREDENTIAL), private=False)
    return found and Key(found.secret, f"systemd credential {CREDENTIAL}")


def key_in_env(names: tuple[str, ...], env: Mapping[str, str]) -> Key | None:
    """Return the key of the first of *names* that is set; raises ConfigError where that is no key."""
    for name in names:
        if value := env.get(name, "").strip():
            return Key(checked(value, name), f"environment variable {name}")
    return None


def checked(text: str, place: str) -> str:
    """Return the key that *text* is, without white space around it; raise ConfigError if it is none."""
    key = text.strip()
    if len(key) > MOST_KEY_BYTES or not _KEY.fullmatch(key):
        raise ConfigError(f"{place}: holds no key: a key is one line of printable characters without spaces")
    return key


def mark(key: str) -> str:
    """Return eight digits by which two keys can be told apart, and which say nothing of either."""
    return hashlib.blake2b(key.encode(), digest_size=4, person=b"rlmd-key-mark").hexdigest()
