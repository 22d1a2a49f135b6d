"""`rlmd auth set`: keep the key of the model provider where every daemon of this user finds it."""

from __future__ import annotations

import os
import sys
import tempfile

from rlmd import paths
from rlmd.cli import exits
from rlmd.cli.talk import complain
from rlmd.errors import ConfigError


def auth_set() -> int:
    """Take a key from stdin, or ask for it on a terminal, and write it to a file of mode 0600.

    The key is no argument, for those are seen by all users and kept in histories.
    """
    from rlmd.llm.keys import MOST_KEY_BYTES, checked  # noqa: PLC0415  # as all commands import

    try:
        if sys.stdin.isatty():
            import getpass  # noqa: PLC0415  # only where somebody types

            text = getpass.getpass("Key (not shown): ")
        else:
            text = sys.stdin.read(MOST_KEY_BYTES + 2)
        key = checked(text, "stdin")
    except ConfigError as exc:
        return complain(str(exc), os.EX_DATAERR)
    except EOFError:
        return complain("no key was given", exits.USAGE)
    path = paths.key_file()
    write_private(path, key + "\n")
    print(f"{path}: written, for you alone to read")
    print(_whose(key))
    return 0


def write_private(path: str, text: str) -> None:
    """Put *text* into the file *path* at once, readable by nobody else at any moment."""
    directory = os.path.dirname(path)
    paths.make_private_dir(directory)
    fd, draft = tempfile.mkstemp(dir=directory)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        os.replace(draft, path)
    except BaseException:  # an interrupt too must leave no draft
        os.unlink(draft)
        raise


def _whose(key: str) -> str:
    from rlmd.llm.providers import provider_of_key  # noqa: PLC0415  # as all commands import

    provider = provider_of_key(key)
    if provider is None:
        return "It does not tell its provider: set llm.base_url, too. `rlmd doctor llm` tries it."
    return (
        f"It looks like a key of {provider.name}. `rlmd doctor llm` tries it; "
        "a daemon that runs takes it when restarted."
    )
