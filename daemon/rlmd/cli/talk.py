"""What every command that talks to the daemon does alike: connect, greet, and say what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from rlmd import paths
from rlmd.cli import exits, start
from rlmd.cli.client import CallFailed, Client, Disconnected, ProtocolError, conversation


def talk(  # noqa: PLR0911  # a sentence and a code for each thing that can go wrong
    body: Callable[[Client], int], *, starting: bool, typed: Sequence[str] = ()
) -> int:
    """Run *body* with a client and return its exit code, or that of what kept it from its answer.

    Starts a daemon where none runs if *starting*.  *typed* are absolute paths that the person
    named, and so may be read.
    """
    try:
        connection = start.reach() if starting else start.connect(paths.socket_path())
        with conversation(connection, paths=typed) as client:
            return body(client)
    except CallFailed as exc:
        return complain(str(exc), exits.of_error(exc.code))
    except (start.NotRunning, Disconnected) as exc:
        return complain(str(exc), os.EX_UNAVAILABLE)
    except start.StartFailed as exc:
        return complain(str(exc), exc.exit_code)
    except UnicodeEncodeError as exc:
        return complain(f"{exc.object[max(exc.start - 40, 0) : exc.end + 40]!a}: is not UTF-8", os.EX_DATAERR)
    except ProtocolError as exc:
        return complain(str(exc), os.EX_SOFTWARE)
    except PermissionError as exc:
        return complain(f"{exc.filename or paths.socket_path()}: {exc.strerror}", os.EX_NOPERM)


def complain(text: str, code: int) -> int:
    """Say *text* on stderr; return *code*."""
    print(f"rlmd: {text}", file=sys.stderr)
    return code
