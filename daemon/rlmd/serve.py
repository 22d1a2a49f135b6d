"""One run of the daemon as a process: settings, locks, socket, signals, exit code."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import trio

from rlmd import lockfile, observe, paths, sd
from rlmd.config import Config, load
from rlmd.doors import listener
from rlmd.doors.listener import Door, SocketTaken
from rlmd.doors.traffic import Bounds, Traffic
from rlmd.doors.ways import Way, open_ways
from rlmd.errors import ConfigError
from rlmd.lifecycle import Lifecycle, open_lifecycle
from rlmd.process import bound_descriptors, keep_few_arenas
from rlmd.reload import Settings

log = structlog.get_logger(__name__)

SOCKET_NAME = "mcp"


@dataclass(frozen=True)
class Options:
    """What the command line asked for; `on_demand` lets an idle daemon end, as does `systemd`."""

    config: str | None = None
    overrides: Sequence[str] = ()
    systemd: bool = False
    on_demand: bool = False


def main(options: Options) -> int:
    """Run the daemon in the foreground; return its exit code."""
    os.umask(0o077)
    gc.disable()  # until the boot is over: an eighth of the imports' time, and no garbage to find
    try:
        read = partial(
            load, paths.config_files(), file=options.config, env=os.environ, overrides=options.overrides
        )
        config = read().config
        state, cache = Path(paths.state_dir()), Path(paths.cache_dir())
        for place in (state, cache):
            paths.make_private_dir(str(place))
        _configure_logs(config)
        bound_descriptors(config.daemon.descriptors)
        keep_few_arenas()
        http = config.http
        with (
            _sole_owner(state),
            closing(_open_door()) as door,
            open_ways(unix=http.unix, port=http.port, beside=door.path, state=str(state)) as ways,
        ):
            settings = Settings(config, read, _configure_logs)
            trio.run(partial(serve, settings, door, options, ways=ways, state=state, cache=cache))
    except ConfigError as wrong:
        _turn_away(str(wrong))
        return _refuse(str(wrong), os.EX_CONFIG)
    except (StateTaken, SocketTaken) as taken:
        _turn_away(str(taken))
        return _refuse(str(taken), os.EX_TEMPFAIL)
    except Exception as crash:  # noqa: BLE001  # the process ends here, and its last word is a sentence
        return _explain(crash)
    return os.EX_OK


async def serve(
    settings: Settings, door: Door, options: Options, *, state: Path, cache: Path, ways: Sequence[Way] = ()
) -> None:
    """Boot, accept until the first signal, drain; a second signal cancels all that is left.

    The socket is bound before we are called: clients wait in the kernel's queue while the rest,
    the protocol's second of imports above all, is loaded.
    """
    config = settings.config
    trio.to_thread.current_default_thread_limiter().total_tokens = config.daemon.threads
    async with open_lifecycle(grace_s=config.daemon.grace_s, reload=settings.reload) as life:
        from rlmd.boot import open_daemon  # noqa: PLC0415  # the second that the socket need not wait for

        async with open_daemon(config, life, state=state, cache=cache) as daemon, life.serving() as requests:
            traffic = Traffic(_bounds(config))
            pipeline = daemon.open_pipeline(requests, traffic, lambda: settings.problems)
            mcp = daemon.open_door(pipeline, traffic)

            def apply(config: Config) -> None:
                _configure_logs(config)
                traffic.bounds = _bounds(config)
                mcp.services = daemon.adapted(pipeline, config)

            apply(settings.config)  # a reload may have come since the boot began
            settings.apply = apply
            if ways:
                from rlmd.doors.http import serve_http  # noqa: PLC0415  # nothing of it where nobody wants it

                await requests.start(serve_http, mcp, ways, traffic, life.draining)
            gc.enable()
            gc.freeze()  # modules stay, so no collection has to look at them again
            _announce(life, door)
            if (options.systemd or options.on_demand) and config.daemon.idle_exit_s:
                life.stop_when_idle(traffic.quiet_since, config.daemon.idle_exit_s)
            await listener.serve(door, mcp.serve, traffic=traffic, connections=requests)


def _configure_logs(config: Config) -> None:
    log = config.log
    observe.configure(log.level, place=None if log.format == "auto" else log.format)


def _bounds(config: Config) -> Bounds:
    """Return how much is let in: a half of the descriptors at most, the other is for the work itself."""
    most = min(config.doors.max_connections, config.daemon.descriptors // 2)
    return Bounds(**(dict(config.doors) | {"max_connections": most}))


class StateTaken(Exception):
    """Another daemon works on this state directory."""


@contextmanager
def _sole_owner(state: Path) -> Iterator[None]:
    """Hold the lock of *state*; two daemons on one memory would lose each other's writes."""
    path = str(state / "daemon.lock")
    lock = lockfile.acquire(path)
    if lock is None:
        raise StateTaken(f"{state}: another daemon works on this state")
    try:
        yield
    finally:
        lockfile.release(path, lock)


def _open_door() -> Door:
    """Listen on the socket that systemd handed over, else on our own."""
    handed = sd.listen_fds().get(SOCKET_NAME)
    return listener.adopt(handed[0]) if handed else listener.bind(paths.socket_path())


def _turn_away(why: str) -> None:
    """Answer those at the socket of systemd, which would start us for them again and again."""
    for fd in sd.listen_fds().get(SOCKET_NAME, []):
        listener.turn_away(listener.adopt(fd), why)


def _announce(life: Lifecycle, door: Door) -> None:
    life.ready(f"serving at {door.path}")
    if sys.stderr.isatty():
        print(f"rlmd: ready socket={door.path} pid={os.getpid()}", file=sys.stderr, flush=True)
    else:
        line = {"event": "rlmd: ready", "socket": door.path, "pid": os.getpid()}
        print(json.dumps(line), file=sys.stderr, flush=True)


def _explain(crash: Exception) -> int:
    """Say what ended the daemon: a file of ours that cannot be used, or something nobody foresaw."""
    from rlmd.store import StoreRefused  # noqa: PLC0415  # what the socket need not wait for

    if isinstance(crash, StoreRefused):
        return _refuse(str(crash), os.EX_DATAERR)
    log.critical("daemon.crashed", exc_info=crash)
    return _refuse(f"{type(crash).__name__}: {crash}", os.EX_SOFTWARE)


def _refuse(why: str, code: int) -> int:
    print(f"rlmd: {why}", file=sys.stderr)
    return code
