import json
import tomllib

import pytest

from rlmd.cli import config
from rlmd.config.document import default_toml
from rlmd.errors import ConfigError


@pytest.fixture
def settings(home):
    home.config.parent.mkdir(parents=True)
    home.config.write_text("[log]\nlevel = 'debug'\n")
    return home.config


def test_check_says_which_files_were_read(settings, capsys):
    assert config.check() == 0

    assert capsys.readouterr().out == f"/etc/rlmd/config.toml: not there\n{settings}: ok\n"


def test_check_judges_one_file_alone(settings, tmp_path, capsys):
    settings.write_text("wrong = ")
    alone = tmp_path / "team.toml"
    alone.write_text("[log]\nlevel = 'info'\n")

    assert config.check(str(alone)) == 0

    assert capsys.readouterr().out == f"{alone}: ok\n"


def test_check_tells_every_mistake_of_every_source(settings, monkeypatch, capsys):
    settings.write_text("[log]\nlevel = 'loud'\n")
    monkeypatch.setenv("RLMD_LOG__FROMAT", "json")

    with pytest.raises(ConfigError) as caught:
        config.check(overrides=["lgo.level=info"])

    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        [f"{settings}:2", "log.level"],
        ["RLMD_LOG__FROMAT", "log.fromat"],
        ["-o lgo.level", "lgo"],
    ]
    assert capsys.readouterr().out == ""


def test_show_prints_what_holds_and_with_origin_why(settings, capsys):
    assert config.show() == 0
    plain = tomllib.loads(capsys.readouterr().out)
    assert config.show(origin=True, overrides=["log.format=json"]) == 0
    explained = capsys.readouterr().out

    assert plain["log"] == {"level": "debug", "format": "auto"}
    assert f'[log]\n# {settings}:2\nlevel = "debug"\n# -o log.format\nformat = "json"\n' in explained


def test_show_as_json_has_the_same_facts(settings, capsys):
    config.show(as_json=True)
    plain = json.loads(capsys.readouterr().out)
    config.show(as_json=True, origin=True)
    explained = json.loads(capsys.readouterr().out)

    assert plain["log"]["level"] == "debug"
    assert explained == {"settings": plain, "origins": {"log.level": f"{settings}:2"}}


def test_init_writes_the_defaults_once_and_never_over_what_is_there(home, capsys):
    assert config.init() == 0
    assert home.config.read_text() == default_toml()
    home.config.write_text("# mine\n")

    assert config.init() == 1

    assert home.config.read_text() == "# mine\n"
    assert "is there already" in capsys.readouterr().err


def test_init_prints_the_defaults_when_asked(home, capsys):
    assert config.init(to_stdout=True) == 0

    assert capsys.readouterr().out == default_toml()
    assert not home.config.exists()
