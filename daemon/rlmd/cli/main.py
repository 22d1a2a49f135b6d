"""The command `rlmd`: which command was meant, what it is given, and its exit code.

Nothing is imported here for any command; `parsers` says what each is given, and what runs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rlmd.cli import exits
from rlmd.cli.parsers import build_parser
from rlmd.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser().parse_args(given)
        code: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough; nothing may be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:
        if exc.filename is None:
            raise  # none of a file that somebody named: a bug, to be seen whole
        print(f"rlmd: {os.fsdecode(exc.filename)}: {exc.strerror}", file=sys.stderr)
        return os.EX_NOPERM if isinstance(exc, PermissionError) else os.EX_DATAERR
    except ConfigError as exc:
        print(f"rlmd: {exc}", file=sys.stderr)
        return os.EX_CONFIG
    return code
