import tomllib
from pathlib import Path

from rlmd.config import Config, load
from rlmd.config.document import default_toml, show, show_toml

DEFAULT = Path(__file__).parents[2] / "configs" / "default.toml"


def uncommented(text):
    """Take the mark off every setting, and the lines of a list that follow it; leave the prose."""
    lines = []
    within = False
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        if within or (bare != line and " = " in bare and bare.split(" = ")[0].isidentifier()):
            lines.append(bare)
            within = bare.endswith("[") or (within and bare != "]")
        else:
            lines.append(line)
    return "\n".join(lines)


def test_the_documented_defaults_are_those_of_the_code():
    assert DEFAULT.read_text() == default_toml(), "run: rlmd config init --print > configs/default.toml"


def test_the_documented_defaults_say_every_key_and_its_value(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(uncommented(default_toml()))

    loaded = load([str(path)])

    assert loaded.config == Config()
    assert set(loaded.origins) == {
        f"{section}.{key}" for section, keys in show(loaded).items() for key in keys
    }


def test_as_they_stand_the_documented_defaults_set_nothing():
    assert not any(tomllib.loads(default_toml()).values())


def test_every_key_is_explained():
    lines = default_toml().splitlines()
    keys = [
        i for i, line in enumerate(lines) if line.startswith("# ") and line[2:].split(" = ")[0].isidentifier()
    ]

    assert [lines[i] for i in keys if not lines[i - 1].startswith("# ")] == []


def test_what_holds_is_shown_as_toml_that_means_the_same(tmp_path):
    loaded = load(overrides=["log.level=debug", 'roots.allow=["/srv"]', 'llm.model=a"b'])
    path = tmp_path / "config.toml"
    path.write_text(show_toml(loaded))

    assert load([str(path)]).config == loaded.config


def test_with_origin_each_setting_is_shown_with_its_place():
    text = show_toml(load(env={"RLMD_LOG__LEVEL": "debug"}), origin=True)

    assert '# RLMD_LOG__LEVEL\nlevel = "debug"\n# default\nformat = "auto"\n' in text


def test_the_secret_part_of_an_address_is_masked():
    loaded = load(overrides=["llm.base_url=https://me:opensesame@host/v1"])

    assert show(loaded)["llm"]["base_url"] == "https://***@host/v1"
    assert "opensesame" not in show_toml(loaded)
