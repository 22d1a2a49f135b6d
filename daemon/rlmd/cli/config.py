"""`rlmd config check | show | init`: judge the settings, show what holds, write the defaults.

Each returns an exit code, and leaves ConfigError to whoever runs commands, for the exit code 78.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from rlmd import paths


def check(file: str | None = None, *, config: str | None = None, overrides: Sequence[str] = ()) -> int:
    """Judge *file* alone or, without it, all settings as a daemon started now would read them."""
    from rlmd.config import load  # noqa: PLC0415  pydantic: only for who asks

    if file is not None:
        load(file=file)
        print(f"{file}: ok")
        return 0
    files = paths.config_files()
    load(files, file=config, env=os.environ, overrides=overrides)
    for path in (*files, *([config] if config else [])):
        print(f"{path}: {'ok' if os.path.exists(path) else 'not there'}")
    return 0


def show(
    *,
    origin: bool = False,
    as_json: bool = False,
    config: str | None = None,
    overrides: Sequence[str] = (),
) -> int:
    """Print the settings that hold as TOML or JSON, with *origin* each with where it comes from."""
    from rlmd.config import load  # noqa: PLC0415  pydantic: only for who asks
    from rlmd.config.document import show as settings_of  # noqa: PLC0415  as above
    from rlmd.config.document import show_toml  # noqa: PLC0415  as above

    loaded = load(paths.config_files(), file=config, env=os.environ, overrides=overrides)
    if not as_json:
        print(show_toml(loaded, origin=origin), end="")
        return 0
    facts: dict[str, object] = {**settings_of(loaded)}
    print(json.dumps({"settings": facts, "origins": dict(loaded.origins)} if origin else facts, indent=2))
    return 0


def init(*, to_stdout: bool = False) -> int:
    """Write the documented defaults to the person's settings file, never over one, or print them."""
    from rlmd.config.document import default_toml  # noqa: PLC0415  pydantic: only for who asks

    if to_stdout:
        print(default_toml(), end="")
        return 0
    path = paths.config_files()[1]
    paths.make_private_dir(os.path.dirname(path))
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(default_toml())
    except FileExistsError:
        print(
            f"rlmd: {path} is there already; `rlmd config init --print` shows the defaults", file=sys.stderr
        )
        return 1
    print(path)
    return 0
