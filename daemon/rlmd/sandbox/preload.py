"""What model-written code may import: all of it is loaded before the locks close, nothing after."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread
import hashlib
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

MODULES = (
    "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "codecs", "collections",
    "collections.abc", "colorsys", "configparser", "contextlib", "contextvars", "copy", "csv",
    "dataclasses", "datetime", "decimal", "difflib", "enum", "errno", "fnmatch", "fractions", "functools",
    "gc", "graphlib", "hashlib", "heapq", "hmac", "html", "html.entities", "html.parser", "inspect", "io",
    "ipaddress", "itertools", "json", "keyword", "linecache", "locale", "logging", "math", "numbers",
    "operator", "os", "os.path", "pathlib", "platform", "pprint", "queue", "random", "re", "reprlib",
    "secrets", "shlex", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "timeit",
    "token", "tokenize", "tomllib", "traceback", "types", "typing", "unicodedata", "urllib.parse", "uuid",
    "warnings", "weakref", "xml.etree.ElementTree", "zlib", "_strptime", "encodings.ascii",
    "encodings.cp1252", "encodings.hex_codec", "encodings.idna", "encodings.latin_1",
    "encodings.raw_unicode_escape", "encodings.rot_13", "encodings.unicode_escape", "encodings.utf_16",
    "encodings.utf_16_be", "encodings.utf_16_le", "encodings.utf_32", "encodings.utf_8",
    "encodings.utf_8_sig",
)  # fmt: skip
TOOLS_OF_ESCAPE = (
    "ctypes", "_ctypes", "socket", "_socket", "subprocess", "multiprocessing", "pickle", "_pickle",
    "select", "selectors", "resource", "mmap", "fcntl", "signal", "_posixsubprocess", "asyncio",
)  # fmt: skip
"""Not to be imported by name: hygiene for honest code, no lock.  The locks are the kernel's."""


class InlineExecutor(concurrent.futures.Executor):
    """Runs what is submitted at once and on the spot: there are no threads to run it in."""

    def __init__(self, *_: object, **__: object) -> None:
        """Take and ignore what the executors of the library take."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Run *fn* and return its outcome as a future that is done."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # whatever it raises is its future's
            future.set_exception(error)
        return future


def load() -> None:
    """Import everything, and have done whatever a library puts off until its first use."""
    for name in MODULES:
        importlib.import_module(name)
    for name in ("ThreadPoolExecutor", "ProcessPoolExecutor"):
        setattr(concurrent.futures, name, InlineExecutor)
    concurrent.futures.thread.ThreadPoolExecutor = InlineExecutor  # type: ignore[assignment,misc]  # on purpose
    hashlib.sha256(b"").hexdigest()
    time.strptime("2000", "%Y")
    time.localtime()


def put_away() -> None:
    """Forget the modules that computing needs none of; call it last, the locks need some of them."""
    for name in TOOLS_OF_ESCAPE:
        sys.modules.pop(name, None)
