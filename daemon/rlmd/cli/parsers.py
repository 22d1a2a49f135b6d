"""What each command is given, and what runs it.

What a command needs is imported when it runs: `status`, `version` and `connect` have to be there in
a moment, and the protocol's own packages take seconds.  Completions and the manual page are made
from this tree, too, so a help text here is what people read there.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import NoReturn

from rlmd.cli import exits, tokens

# ruff: noqa: PLC0415  # a command's imports wait until it runs

AGENTS = ("claude-code", "codex", "vscode", "cursor", "gemini", "zed", "windsurf")
"""The clients that `install` knows; what it knows of them is loaded when it runs."""


class Parser(argparse.ArgumentParser):
    """A parser that names the nearest command where it knows none."""

    def error(self, message: str) -> NoReturn:
        """Print *message* as one line and exit with 2."""
        self.exit(exits.USAGE, f"{self.prog}: {message}; see `{self.prog} --help`\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            nearest = difflib.get_close_matches(str(value), map(str, action.choices), n=1, cutoff=0.5)
            hint = (
                f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(map(str, action.choices))}"
            )
            raise argparse.ArgumentError(None, f"unknown {action.dest} {value!r}: {hint}")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; importing nothing for any of them."""
    parser = Parser(prog="rlmd", description="Ask questions of content larger than any context window.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_daemon(commands)
    _add_ask(commands)
    _add_exec(commands)
    tokens.add(commands)
    _add_jobs(commands)
    _add_memory(commands)
    _add_config(commands)
    _add_house(commands)
    return parser


def _add_daemon(commands: argparse._SubParsersAction[Parser]) -> None:
    serve = commands.add_parser("serve", help="run the daemon in the foreground")
    serve.add_argument(
        "--systemd", action="store_true", help="started by systemd: report to it, take its socket"
    )
    serve.add_argument("--on-demand", action="store_true", help="started by a client: end when long unused")
    _add_settings(serve)
    serve.set_defaults(run=_serve)
    connect = commands.add_parser(
        "connect", help="carry MCP between stdin/stdout and the daemon, starting it if needed"
    )
    connect.set_defaults(run=_connect)
    status = commands.add_parser("status", help="say how the daemon is")
    status.add_argument("--json", action="store_true", help="print the facts as JSON")
    status.set_defaults(run=_status)
    top = commands.add_parser("top", help="watch the daemon at work")
    top.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between screens")
    top.set_defaults(run=_top)
    metrics = commands.add_parser("metrics", help="print the daemon's figures as Prometheus reads them")
    metrics.set_defaults(run=_metrics)
    logs = commands.add_parser("logs", help="print what the daemon has logged")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    logs.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="the last N (default 100)")
    logs.set_defaults(run=_logs)
    bugreport = commands.add_parser("bugreport", help="write what a maintainer needs, without what is yours")
    bugreport.add_argument("file", nargs="?", help="default: rlmd-bugreport-TIME.tar.gz")
    bugreport.set_defaults(run=_bugreport)
    stop = commands.add_parser("stop", help="stop the daemon, after the work in hand")
    stop.set_defaults(run=_stop)


def _serve(args: argparse.Namespace) -> int:
    # structlog imports rich where it is, a tenth of the start, for tracebacks that we print plainly.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # None is how an import is forbidden
    from rlmd.serve import Options, main

    return main(Options(args.config, args.overrides, systemd=args.systemd, on_demand=args.on_demand))


def _connect(_args: argparse.Namespace) -> int:
    from rlmd.cli.bridge import main

    return main()


def _status(args: argparse.Namespace) -> int:
    from rlmd.cli.status import status

    return status(as_json=args.json)


def _top(args: argparse.Namespace) -> int:
    from rlmd.cli.top import top

    return top(interval_s=max(args.interval, 0.1))


def _metrics(_args: argparse.Namespace) -> int:
    from rlmd.cli.metrics import metrics

    return metrics()


def _logs(args: argparse.Namespace) -> int:
    from rlmd.cli.logs import logs

    return logs(follow=args.follow, lines=max(args.lines, 0))


def _bugreport(args: argparse.Namespace) -> int:
    from rlmd.cli.bugreport import bugreport

    return bugreport(file=args.file)


def _stop(_args: argparse.Namespace) -> int:
    from rlmd.cli.stop import stop

    return stop()


def _add_ask(commands: argparse._SubParsersAction[Parser]) -> None:
    ask = commands.add_parser("ask", help="answer a question about directories or files")
    ask.add_argument("question", help="what to find out")
    ask.add_argument("paths", nargs="*", metavar="PATH", help="what to ask (default: the working directory)")
    ask.add_argument(
        "--mode",
        choices=["auto", "evidence", "direct", "rlm"],
        default="auto",
        help="passages, one call of a model, or a model that writes code; auto takes what will do",
    )
    ask.add_argument(
        "--kind", choices=["code", "docs", "any"], default="code", help="what the question is about"
    )
    ask.add_argument("--budget", metavar="usd=…,calls=…,seconds=…", help="what the answer may cost")
    ask.add_argument("--include", action="append", default=[], metavar="GLOB", help="only files that match")
    ask.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="no files that match")
    ask.add_argument("--json", action="store_true", help="print the facts as JSON")
    ask.set_defaults(run=_ask)


def _ask(args: argparse.Namespace) -> int:
    from rlmd.cli.ask import ask

    return ask(args)


def _add_exec(commands: argparse._SubParsersAction[Parser]) -> None:
    run = commands.add_parser("exec", help="run Python from stdin in the sandbox, over a corpus")
    run.add_argument("paths", nargs="*", metavar="PATH", help="what the code sees as `files`")
    run.add_argument("--session", metavar="S", help="go on in this session")
    run.add_argument("--keep", action="store_true", help="leave a new session open and name it on stderr")
    run.add_argument(
        "--timeout", type=float, default=30.0, dest="timeout_s", metavar="SECONDS", help="for the code"
    )
    run.add_argument("--json", action="store_true", help="print the facts as JSON")
    run.set_defaults(run=_exec)


def _exec(args: argparse.Namespace) -> int:
    from rlmd.cli.execute import execute

    return execute(args)


def _add_jobs(commands: argparse._SubParsersAction[Parser]) -> None:
    jobs = commands.add_parser("jobs", help="list, show, wait for or cancel questions that became jobs")
    verbs = jobs.add_subparsers(dest="verb", metavar="list|show|wait|cancel")
    verbs.add_parser("list", help="list them, latest first")
    verbs.add_parser("show", help="print what a job did, with tokens, money and seconds")
    verbs.add_parser("wait", help="wait for a job and print its answer")
    verbs.add_parser("cancel", help="end a job")
    jobs.set_defaults(json=False, run=_jobs)
    for name, verb in verbs.choices.items():
        if name != "list":
            verb.add_argument("job", metavar="ID", help="as `jobs list` shows it")
        verb.add_argument("--json", action="store_true", help="print the facts as JSON")


def _jobs(args: argparse.Namespace) -> int:
    from rlmd.cli.jobs import jobs

    return jobs(args)


def _add_memory(commands: argparse._SubParsersAction[Parser]) -> None:
    memory = commands.add_parser("memory", help="store and recall findings")
    verbs = memory.add_subparsers(dest="verb", metavar="VERB", required=True)
    store = verbs.add_parser("store", help="remember a value under a key")
    store.add_argument("key", help="a name for it")
    store.add_argument("value", nargs="?", help="the text to remember, or - to read it from stdin")
    store.add_argument("--job", metavar="ID", help="cite what this answer cites; VALUE defaults to it")
    store.add_argument(
        "--tag", action="append", default=[], dest="tags", metavar="TAG", help="may be given again"
    )
    store.add_argument("--project", help='default: this repository; "user" = you')
    store.add_argument("--kind", help="what kind of finding it is")
    store.add_argument("--expect-version", type=int, metavar="N", help="0 = must not exist yet")
    store.add_argument("--ttl", type=float, dest="ttl_s", metavar="SECONDS", help="forget it then")
    store.add_argument("--supersedes", metavar="KEY", help="a key that is wrong now")
    store.add_argument(
        "--evidence", action="append", default=[], metavar="PATH:START-END", help="code that it speaks of"
    )
    recall = verbs.add_parser("recall", help="print what is remembered")
    recall.add_argument("query", nargs="?", help="words to look for")
    recall.add_argument("--key", help="this one alone")
    recall.add_argument("--prefix", help="beginning of the key")
    recall.add_argument(
        "--tag", action="append", default=[], dest="tags", metavar="TAG", help="may be given again"
    )
    recall.add_argument(
        "--all-tags", action="store_const", const="all", dest="match", help="every tag has to match"
    )
    recall.add_argument("--project", help='"*" = all')
    recall.add_argument("--limit", type=int, default=10, metavar="N", help="at most N (default 10)")
    for verb in (store, recall, *_add_memory_care(verbs)):
        verb.add_argument("--json", action="store_true", help="print the facts as JSON")
    memory.set_defaults(run=_memory)


def _memory(args: argparse.Namespace) -> int:
    from rlmd.cli.memory import memory

    return memory(args)


def _add_memory_care(verbs: argparse._SubParsersAction[Parser]) -> list[Parser]:
    changes = {
        "history": "print every version of a key",
        "forget": "stop recalling a key; undo brings it back",
        "undo": "take back the last change of a key",
        "purge": "remove a key for good, from every file and backup",
        "confirm": "say that a memory still holds, and take its evidence anew",
    }
    added = [verbs.add_parser(name, help=text) for name, text in changes.items()]
    for verb in added:
        verb.add_argument("key", help="whose")
    brief = verbs.add_parser("brief", help="print what to know before starting here")
    brief.add_argument("--tokens", type=int, default=1_000, metavar="N", help="its length (default 1000)")
    export = verbs.add_parser("export", help="print every version as a line of JSON")
    export.add_argument("--markdown", action="store_true", help="what stands, for people to read")
    for verb in (*added, brief, export):
        verb.add_argument("--project", help='default: this repository; "user" = you')
    backup = verbs.add_parser("backup", help="write a whole copy of the memory file")
    take_over = verbs.add_parser("import", help="take over the lines of an export")
    take_over.add_argument("file", nargs="?", default="-", help="default: stdin")
    return [*added, brief, export, backup, take_over]


def _add_config(commands: argparse._SubParsersAction[Parser]) -> None:
    config = commands.add_parser("config", help="check, show or write the settings")
    verbs = config.add_subparsers(dest="verb", metavar="check|show|init", required=True)
    check = verbs.add_parser("check", help="name every mistake in the settings")
    check.add_argument("file", nargs="?", help="this file alone")
    _add_settings(check)
    show = verbs.add_parser("show", help="print the settings that hold")
    show.add_argument("--origin", action="store_true", help="and where each comes from")
    show.add_argument("--json", action="store_true", help="print them as JSON")
    _add_settings(show)
    init = verbs.add_parser("init", help="write the defaults, with comments, to your settings file")
    init.add_argument("--print", action="store_true", dest="to_stdout", help="print them instead")
    config.set_defaults(run=_config)


def _config(args: argparse.Namespace) -> int:
    from rlmd.cli import config

    match args.verb:
        case "check":
            return config.check(args.file, config=args.config, overrides=args.overrides)
        case "show":
            return config.show(
                origin=args.origin, as_json=args.json, config=args.config, overrides=args.overrides
            )
        case _:
            return config.init(to_stdout=args.to_stdout)


def _add_house(commands: argparse._SubParsersAction[Parser]) -> None:
    doctor = commands.add_parser("doctor", help="look at everything that may be broken")
    doctor.add_argument("what", nargs="?", choices=["llm"], help="llm: make one tiny call to the model")
    doctor.add_argument("--json", action="store_true", help="print the facts as JSON")
    _add_settings(doctor)
    doctor.set_defaults(run=_doctor)
    install = commands.add_parser("install", help="enter rlmd in the settings of an agent")
    install.add_argument("agent", choices=AGENTS, metavar="AGENT", help=", ".join(AGENTS))
    how = install.add_mutually_exclusive_group()
    how.add_argument("--print", action="store_true", dest="to_stdout", help="print the entry, change nothing")
    how.add_argument("--remove", action="store_true", help="take it out again")
    install.set_defaults(run=_install)
    _add_service(commands)
    auth = commands.add_parser("auth", help="keep the key of the model provider")
    auth.add_argument("verb", choices=["set"], help="set: take the key from stdin, or ask for it")
    auth.set_defaults(run=_auth)
    completion = commands.add_parser("completion", help="print what a shell needs to complete commands")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"], help="for this shell")
    completion.set_defaults(run=_completion)
    version = commands.add_parser("version", help="print the version")
    version.add_argument("--json", action="store_true", help="print the facts as JSON")
    version.set_defaults(run=_version)


def _add_service(commands: argparse._SubParsersAction[Parser]) -> None:
    service = commands.add_parser("service", help="have systemd start the daemon when a client connects")
    verbs = service.add_subparsers(dest="verb", metavar="install|uninstall|status", required=True)
    install = verbs.add_parser("install", help="write the units and open the socket")
    install.add_argument(
        "--no-user-namespaces",
        action="store_const",
        const=False,
        dest="namespaces",
        help="for machines that forbid them (default: try)",
    )
    uninstall = verbs.add_parser("uninstall", help="close the socket and remove the units")
    status = verbs.add_parser("status", help="say how socket and service are")
    status.add_argument("--json", action="store_true", help="print the facts as JSON")
    for verb in (install, uninstall, status):
        verb.add_argument(
            "--system", metavar="USER", dest="instance", help="by the machine's manager, as this user"
        )
    service.set_defaults(run=_service)


def _service(args: argparse.Namespace) -> int:
    from rlmd.cli import service

    match args.verb:
        case "install":
            return service.install(args.instance, namespaces=args.namespaces)
        case "uninstall":
            return service.uninstall(args.instance)
        case _:
            return service.status(args.instance, as_json=args.json)


def _doctor(args: argparse.Namespace) -> int:
    if args.what == "llm":
        from rlmd.cli.checkup.model import doctor_llm

        return doctor_llm(as_json=args.json, config=args.config, overrides=args.overrides)
    from rlmd.cli.doctor import doctor

    return doctor(as_json=args.json, config=args.config, overrides=args.overrides)


def _install(args: argparse.Namespace) -> int:
    from rlmd.cli.install import install

    return install(args.agent, to_stdout=args.to_stdout, remove=args.remove)


def _auth(_args: argparse.Namespace) -> int:
    from rlmd.cli.auth import auth_set

    return auth_set()


def _completion(args: argparse.Namespace) -> int:
    from rlmd.cli.completion import completion

    return completion(args.shell)


def _version(args: argparse.Namespace) -> int:
    from rlmd.cli.version import version

    return version(as_json=args.json)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="read this settings file, too")
    parser.add_argument(
        "-o",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="set one setting",
    )
