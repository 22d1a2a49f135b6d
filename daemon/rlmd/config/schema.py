"""Every setting: its type, default, bounds and meaning.

configs/default.toml is written from here (`rlmd config init` prints it), so a description is what
its reader sees: it names the unit where the key cannot.  Values are frozen once loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}


def parse_size(value: object) -> object:
    """Turn "64 MiB" into bytes; what is no text is left for the type to judge."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+) *(B|KiB|MiB|GiB)", value)
    if found is None:
        raise ValueError('must be a number of bytes, or a text like "64 MiB"')
    return int(found[1]) * UNITS[found[2]]


def expand_home(path: str) -> str:
    """Make `~` the home directory; whatever is not absolute then has no meaning for a daemon."""
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded):
        raise ValueError("must be an absolute path, or start with ~")
    return expanded


def require_url(text: str) -> str:
    """Let only addresses of the web through; an empty one says that there is none."""
    if text and not re.match(r"https?://[^/\s]+", text):
        raise ValueError("must be an address that starts with http:// or https://")
    return text


def from_list(value: object) -> object:
    """Take TOML's arrays for tuples, which strict validation would refuse."""
    return tuple(value) if isinstance(value, list) else value


Bytes = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Globs = Annotated[tuple[str, ...], BeforeValidator(from_list)]
Words = Annotated[tuple[str, ...], BeforeValidator(from_list)]
Paths = Annotated[tuple[Annotated[str, AfterValidator(expand_home)], ...], BeforeValidator(from_list)]
OptionalPath = Annotated[str, AfterValidator(lambda path: expand_home(path) if path else path)]
Url = Annotated[str, AfterValidator(require_url)]


class Section(BaseModel):
    """What all sections have in common: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True
    )


class Daemon(Section):
    """The process."""

    grace_s: Seconds = Field(
        default=10.0, description="seconds that work in hand gets to finish after the first SIGTERM"
    )
    idle_exit_s: Seconds = Field(
        default=3600.0,
        description="seconds without a client after which a daemon started on demand ends; 0 = never",
    )
    memory_bytes: Bytes = Field(
        default=0,
        description="memory of the daemon and its children; 0 = what its cgroup, its rlimit or the machine "
        "allows. Near it caches are given up, then new work is refused, then the largest job ends early",
    )
    descriptors: Annotated[int, Field(ge=256)] = Field(
        default=4096, description="files, sockets and pipes open at the same time; more are never opened"
    )
    threads: Count = Field(
        default=40, description="threads for blocking calls, beside those of readers and the like"
    )


class Log(Section):
    """Events, on stderr or in the journal. Contents, prompts and keys are never logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description='the least that is written: "debug", "info", "warning" or "error"'
    )
    format: Literal["auto", "journal", "console", "json"] = Field(
        default="auto", description='"journal", "console" or "json"; "auto" chooses by where stderr leads'
    )


class Roots(Section):
    """What tools may read, beside the workspace of each session, after symlinks are resolved."""

    allow: Paths = Field(default=("~",), description="directories whose contents may be read")
    deny: Paths = Field(
        default=(
            "~/.ssh",
            "~/.gnupg",
            "~/.aws",
            "~/.azure",
            "~/.kube",
            "~/.docker",
            "~/.password-store",
            "~/.local/share/keyrings",
            "~/.config/rlmd",
            "~/.config/gcloud",
            "~/.config/gh",
            "~/.mozilla",
            "~/.thunderbird",
            "~/.config/google-chrome",
            "~/.config/chromium",
            "~/.config/BraveSoftware",
            "~/.config/microsoft-edge",
            "~/.config/vivaldi",
        ),
        description="directories that stay closed to every tool, whatever else allows them; a list of "
        "your own replaces this one",
    )


class Privacy(Section):
    """Files that no corpus takes in; they are skipped with the reason `secret`."""

    exclude: Globs = Field(
        default=(
            ".env*",
            "*.pem",
            "*.key",
            "*.p12",
            "*.pfx",
            "*.jks",
            "*.keystore",
            "*.kdbx",
            "*.tfstate",
            "id_rsa*",
            "id_dsa*",
            "id_ecdsa*",
            "id_ed25519*",
            ".netrc",
            ".pgpass",
            ".pypirc",
            ".npmrc",
            ".htpasswd",
            ".git-credentials",
            ".vault_pass*",
        ),
        description="globs over names, or over paths below the root where they hold a slash; a list of "
        "your own replaces this one",
    )


class Ingest(Section):
    """How much of a tree is taken in, and how it is read."""

    max_files: Count = Field(default=200_000, description="files of one root; more are refused as too_large")
    max_bytes: Bytes = Field(default=4 * GIB, description="bytes of one root; more are refused as too_large")
    max_file_bytes: Bytes = Field(
        default=64 * MIB, description="bytes of one file; a larger one is skipped as too_large"
    )
    readers: Count = Field(
        default=2, description="batches read at the same time; more pays on a cold disk only"
    )
    open_files: Count = Field(default=50, description="files open at the same time")
    read_timeout_s: Seconds = Field(
        default=30.0, description="seconds after which a hung file is skipped as unreadable"
    )


class Tokens(Section):
    """How tokens are counted: in a worker process, which starts when it is needed."""

    encoding: Literal["o200k_base", "cl100k_base"] = Field(
        default="o200k_base", description='"o200k_base" or "cl100k_base"'
    )
    engine: Literal["auto", "tiktoken", "gigatoken"] = Field(
        default="auto",
        description='"tiktoken" is the reference, "gigatoken" the faster one; "auto" takes the faster '
        "one while its ids are the same",
    )
    idle_s: Seconds = Field(
        default=300.0, description="seconds without work after which the worker process ends"
    )


class Corpus(Section):
    """What is kept of the trees that were asked about; all of it can be computed again."""

    snapshots: Count = Field(default=8, description="roots whose latest snapshot is held ready")
    cache_bytes: Bytes = Field(
        default=8 * GIB,
        description="bytes of contents kept on the disk for the next question, also after a restart; what "
        "was not used for longest goes first, never what is in use",
    )
    watches: Annotated[int, Field(ge=0)] = Field(
        default=100_000,
        description="directories watched for changes, all roots together; a root with more is looked through "
        "at each question instead; 0 = none",
    )


class Memory(Section):
    """What is remembered. A full quota is an error that says so; nothing is ever evicted silently."""

    max_value_bytes: Bytes = Field(default=1 * MIB, description="bytes of one value")
    max_bytes: Bytes = Field(default=1 * GIB, description="bytes of all memories of this user")


class Llm(Section):
    """The model behind `direct` and `rlm`. Without one, questions are answered by evidence."""

    base_url: Url = Field(
        default="", description="address of an OpenAI-compatible server; empty = found in the environment"
    )
    model: str = Field(default="", description="model of the root calls; empty = the provider's default")
    sub_model: str = Field(default="", description="model of the sub-calls; empty = the same as model")
    api_key_file: OptionalPath = Field(
        default="", description="file with the key, mode 0600; empty = systemd credential, then environment"
    )
    autodetect: bool = Field(
        default=False, description="look for a model server on this machine when none is configured"
    )
    command: Words = Field(
        default=(),
        description='a program that answers in the server\'s stead, such as ["claude", "-p"]: the prompt on '
        "its stdin, the reply on its stdout, {model} among its words is the model; goes before base_url",
    )
    window_tokens: Annotated[int, Field(ge=0)] = Field(
        default=0, description="tokens that fit one prompt; 0 = what the provider or our table says"
    )
    max_result_tokens: Annotated[int, Field(ge=0)] = Field(
        default=0, description="tokens of one reply at most; 0 = the provider's own limit"
    )
    stream: bool = Field(
        default=False,
        description="have replies sent in pieces, for proxies that give up on silent connections",
    )
    script: OptionalPath = Field(
        default="",
        description="file of replies to replay instead of asking a model, a JSON object a line; for tests "
        "and demonstrations; goes before all else",
    )
    concurrency: Count = Field(
        default=100, description="calls in flight at the same time; fewer while the server bears fewer"
    )
    queue: Annotated[int, Field(ge=2)] = Field(
        default=4096,
        description="calls accepted, waiting ones included; more are refused as busy, and one job may have "
        "half of them",
    )
    rpm: Annotated[int, Field(ge=0)] = Field(
        default=0, description="requests a minute, all models together; 0 = what the server's headers say"
    )
    tpm: Annotated[int, Field(ge=0)] = Field(
        default=0, description="tokens a minute, all models together; 0 = what the server's headers say"
    )
    timeout_s: Annotated[Seconds, Field(gt=0)] = Field(
        default=120.0, description="seconds for one attempt, from its sending to the last byte of the reply"
    )
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=3, description="further attempts after a failure that may pass"
    )
    cache_ttl_s: Seconds = Field(
        default=3600.0, description="seconds for which a reply answers the same request again; 0 = never"
    )
    cache_entries: Annotated[int, Field(ge=0)] = Field(
        default=1000, description="replies kept; the least recently used go first"
    )


class Sandbox(Section):
    """The processes in which code that a model wrote is confined."""

    sessions: Count = Field(default=8, description="sessions at the same time; a run has one of its own")
    warm: Annotated[int, Field(ge=0)] = Field(default=1, description="processes that wait for a session")
    memory_bytes: Bytes = Field(default=1 * GIB, description="memory of one session, beside its files")
    idle_s: Seconds = Field(default=600.0, description="seconds without a cell after which a session ends")
    calls: Count = Field(default=10_000, description="sub-calls of one session")
    calls_at_once: Count = Field(default=100, description="sub-calls of one session at the same time")


class Engine(Section):
    """Mode `rlm`: a model that answers by code over the files."""

    turns: Count = Field(default=40, description="cells of one run")
    cell_s: Seconds = Field(default=30.0, description="seconds of one cell, its sub-calls not counted")
    output_chars: Count = Field(default=20_000, description="characters of a cell's output that are shown")
    calls: Count = Field(default=500, description="calls of models for one question that names no budget")
    depth: Annotated[int, Field(ge=0)] = Field(default=2, description="generations of child runs")
    keep_jobs: Count = Field(default=500, description="jobs whose answers and trajectories are kept")


class Doors(Section):
    """Who may ask how much at once, on the Unix socket."""

    max_frame_bytes: Annotated[Bytes, Field(ge=64 * KIB, le=64 * MIB)] = Field(
        default=8 * MIB,
        description="bytes of one message, from 64 KiB to 64 MiB; a larger one ends its connection",
    )
    max_connections: Count = Field(
        default=64, description="connections at the same time, at most a half of daemon.descriptors"
    )
    max_requests: Count = Field(default=32, description="requests in hand per connection")
    write_timeout_s: Seconds = Field(
        default=30.0, description="seconds that a client may take to accept a message"
    )
    wait_s: Annotated[Seconds, Field(le=50)] = Field(
        default=25.0,
        description="seconds a question waits for its answer before it becomes a job to ask after, up to 50",
    )


class Http(Section):
    """MCP over HTTP, for clients that cannot start a command. Off unless asked for."""

    unix: bool = Field(
        default=False, description="serve it on a Unix socket, http.sock beside the daemon's own"
    )
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        default=0,
        description="serve it on this port of 127.0.0.1, to whoever sends the token that is in http-token "
        "in the state directory; 0 = no port",
    )


class Config(Section):
    """All settings, section by section."""

    daemon: Daemon = Field(default_factory=Daemon)
    log: Log = Field(default_factory=Log)
    roots: Roots = Field(default_factory=Roots)
    privacy: Privacy = Field(default_factory=Privacy)
    ingest: Ingest = Field(default_factory=Ingest)
    tokens: Tokens = Field(default_factory=Tokens)
    corpus: Corpus = Field(default_factory=Corpus)
    memory: Memory = Field(default_factory=Memory)
    llm: Llm = Field(default_factory=Llm)
    sandbox: Sandbox = Field(default_factory=Sandbox)
    engine: Engine = Field(default_factory=Engine)
    doors: Doors = Field(default_factory=Doors)
    http: Http = Field(default_factory=Http)


SECTIONS: Mapping[str, type[Section]] = {name: type(section) for name, section in Config()}
"""The sections by name, in the order of the documentation."""
