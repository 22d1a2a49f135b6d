"""Our entry in the settings of a client: found, written and taken out, text to text.  No I/O.

What people wrote stays: their comments, their order, the keys that they added to the entry itself.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlmd.cli import jsonc
from rlmd.cli.clients import NAME, Client, carried, command

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

ADDRESSES = ("url", "httpUrl", "serverUrl")


class Unusable(Exception):
    """The settings cannot be edited as they are; the text says why, for a person."""


def find(text: str, client: Client) -> Mapping[str, Any] | None:
    """Return our entry, None where there is none; raise Unusable for what cannot be read."""
    whole = _parsed(text, client)
    servers = whole.get(client.table, {}) if isinstance(whole, dict) else None
    if not isinstance(servers, dict):
        raise Unusable(f"{client.table} is no table of servers")
    entry = servers.get(NAME)
    if entry is not None and not isinstance(entry, dict):
        raise Unusable(f"{client.table}.{NAME} is no table")
    return entry


def put(text: str, client: Client, env: Mapping[str, str]) -> str:
    """Return *text* with our entry as it has to be now; the same text where it is so already.

    Keys of the entry that are not ours stay, and so does a time limit that somebody changed.
    """
    entry = find(text, client)
    if entry is not None and (taken := [key for key in ADDRESSES if key in entry]):
        raise Unusable(
            f"{client.table}.{NAME} has {taken[0]} already; `--remove` takes it out, then install again"
        )
    program, arguments = command()
    wanted: dict[str, Any] = {**client.fixed, "command": program, "args": arguments}
    if places := carried(env):
        wanted["env"] = {**(entry or {}).get("env", {}), **places}
    wanted |= {key: value for key, value in client.suggested.items() if key not in (entry or {})}
    if client.format == "toml":
        edited = _put_toml(text, client, wanted)
    elif entry is None:
        edited = jsonc.put(text, [client.table, NAME], wanted)
    else:
        edited = text
        for key, value in wanted.items():
            edited = jsonc.put(edited, [client.table, NAME, key], value)
    _compare(_parsed(edited, client), _with(_parsed(text, client), client, {**(entry or {}), **wanted}))
    return edited


def drop(text: str, client: Client) -> str:
    """Return *text* without our entry; the same text where there is none."""
    if find(text, client) is None:
        return text
    edited = _drop_toml(text, client) if client.format == "toml" else jsonc.drop(text, [client.table, NAME])
    _compare(_parsed(edited, client), _with(_parsed(text, client), client, None))
    return edited


def _parsed(text: str, client: Client) -> Any:
    try:
        whole = tomllib.loads(text) if client.format == "toml" else jsonc.loads(text)
    except (jsonc.NotJson, tomllib.TOMLDecodeError) as exc:
        raise Unusable(f"is no {client.format.upper()}: {exc}") from exc
    if whole is None:
        return {}
    if not isinstance(whole, dict):
        raise Unusable("holds no table of settings")
    return whole


def _with(whole: dict[str, Any], client: Client, entry: Mapping[str, Any] | None) -> dict[str, Any]:
    servers = {name: each for name, each in whole.get(client.table, {}).items() if name != NAME}
    if entry is not None:
        servers[NAME] = dict(entry)
    return {**whole, client.table: servers}


def _compare(edited: object, wanted: dict[str, Any]) -> None:
    """Refuse an edit that says anything else than what was meant; nothing is written then."""
    if edited != wanted and edited != {key: value for key, value in wanted.items() if value}:
        raise Unusable(
            "is laid out in a way that cannot be edited safely; edit it by hand (--print shows what)"
        )


def _document(text: str) -> TOMLDocument:
    import tomlkit  # noqa: PLC0415  # for one client of seven
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        return tomlkit.parse(text)
    except TOMLKitError as exc:
        raise Unusable(f"is no TOML: {exc}") from exc


def _put_toml(text: str, client: Client, wanted: Mapping[str, Any]) -> str:
    import tomlkit  # noqa: PLC0415

    document = _document(text)
    servers: Any = document.get(client.table)
    if servers is None:
        servers = document[client.table] = tomlkit.table(is_super_table=True)
    entry: Any = servers.get(NAME)
    if entry is None:
        entry = tomlkit.inline_table() if isinstance(servers, tomlkit.items.InlineTable) else tomlkit.table()
        entry.update(wanted)
        servers[NAME] = entry
    else:
        for key, value in wanted.items():
            if entry.get(key) != value:
                entry[key] = value
    return tomlkit.dumps(document)


def _drop_toml(text: str, client: Client) -> str:
    import tomlkit  # noqa: PLC0415

    document = _document(text)
    servers: Any = document[client.table]
    del servers[NAME]
    return tomlkit.dumps(document)
