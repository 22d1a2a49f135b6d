import pytest

from rlmd.config import Config, load
from rlmd.errors import ConfigError


def problems_of(*files, **sources):
    with pytest.raises(ConfigError) as caught:
        load([str(path) for path in files], **sources)
    return caught.value.problems


@pytest.fixture
def write(tmp_path):
    def write(text, name="config.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_without_any_source_the_defaults_hold():
    loaded = load()

    assert loaded.config == Config()
    assert loaded.origin("log.level") == "default"


def test_each_source_is_stronger_than_the_one_before(write):
    system = write(
        "[daemon]\ngrace_s = 1\nidle_exit_s = 1\n[log]\nlevel = 'debug'\n[corpus]\nsnapshots = 1\n", "system"
    )
    user = write("[daemon]\nidle_exit_s = 2\n[log]\nlevel = 'error'\n[corpus]\nsnapshots = 2\n", "user")
    chosen = write("[log]\nlevel = 'warning'\n[corpus]\nsnapshots = 3\n", "chosen")

    loaded = load(
        [str(system), str(user)],
        file=str(chosen),
        env={"RLMD_CORPUS__SNAPSHOTS": "4", "RLMD_TOKENS__IDLE_S": "4"},
        overrides=["tokens.idle_s=5"],
    )

    config = loaded.config
    assert (config.daemon.grace_s, config.daemon.idle_exit_s, config.log.level) == (1, 2, "warning")
    assert (config.corpus.snapshots, config.tokens.idle_s) == (4, 5)
    assert loaded.origin("daemon.grace_s") == f"{system}:2"
    assert loaded.origin("daemon.idle_exit_s") == f"{user}:2"
    assert loaded.origin("log.level") == f"{chosen}:2"
    assert loaded.origin("corpus.snapshots") == "RLMD_CORPUS__SNAPSHOTS"
    assert loaded.origin("tokens.idle_s") == "-o tokens.idle_s"


def test_files_that_do_not_exist_are_passed_over_but_not_the_chosen_one(tmp_path):
    assert load([str(tmp_path / "none")]).config == Config()
    assert problems_of(file=str(tmp_path / "none")) == (f"{tmp_path}/none: there is no such file",)


def test_all_mistakes_of_all_sources_are_told_at_once(write):
    first = write("[log]\nlevle = 'info'\n\n[doors]\nmax_requests = 0\n", "first")
    second = write("[lgo]\nlevel = 'info'\n[roots]\nallow = ['relative']\n", "second")

    problems = problems_of(
        first,
        file=str(second),
        env={"RLMD_LLM__MODLE": "x"},
        overrides=["log.format=xml", "daemon.grace_s=soon", "typo"],
    )

    assert problems == (
        f"{first}:2: log.levle: there is no such key (did you mean 'level'?)",
        f"{first}:5: doors.max_requests: must be greater than or equal to 1",
        f"{second}:4: roots.allow: must be an absolute path, or start with ~",
        f"{second}:1: lgo: there is no such section (did you mean 'log'?)",
        "RLMD_LLM__MODLE: llm.modle: there is no such key (did you mean 'model'?)",
        "-o typo: is not of the form section.key=value",
    )


def test_a_mistake_is_told_although_a_stronger_source_hides_it(write):
    path = write("[log]\nlevel = 'loud'\n")

    problems = problems_of(path, overrides=["log.level=debug"])

    assert problems == (f"{path}:2: log.level: must be 'debug', 'info', 'warning' or 'error'",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[log]\nlevel =\n", "2: invalid value"),
        ("[log]\nlevel = 'info'\n[doors\n", "3: expected ']' at the end of a table declaration"),
        ("[log]\nlevel = 'info", '2: expected "\'"'),
        (b"[log]\n# \xff\n", "2: is not UTF-8"),
        ("log = 3\n", "1: log: must be a table of keys"),
        ("level = 'info'\n", "1: level: there is no such section"),
        ("doors.max_requests = 'many'\n", "1: doors.max_requests: must be a valid integer"),
        ("[ doors ]\n'max_requests' = true\n", "2: doors.max_requests: must be a valid integer"),
        ("doors = { max_requests = 1.5 }\n", "1: doors.max_requests: must be a valid integer"),
        ("[doors]\nmax_frame_bytes = '65 MiB'\n", "2: doors.max_frame_bytes: must be less than or equal to"),
        ("[memory]\nmax_bytes = '1 MB'\n", "2: memory.max_bytes: must be a number of bytes, or a text like"),
        ("[memory]\nmax_bytes = -1\n", "2: memory.max_bytes: must be greater than or equal to 0"),
        ("[daemon]\ngrace_s = inf\n", "2: daemon.grace_s: must be a finite number"),
        ("[llm]\nbase_url = 'localhost:1'\n", "2: llm.base_url: must be an address that starts with http"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(write, text, problem):
    path = write(text)

    (told,) = problems_of(path)

    assert told.startswith(f"{path}:{problem}")


def test_a_mistake_never_repeats_what_was_written(write):
    path = write("[llm]\napi_key = 'sk-secret'\nautodetect = 'sk-secret'\n")

    problems = problems_of(path, overrides=["llm.key=sk-secret"])

    assert len(problems) == 3
    assert "sk-secret" not in "\n".join(problems)


def test_a_directory_in_place_of_a_file_is_told(tmp_path):
    assert problems_of(tmp_path) == (f"{tmp_path}: cannot be read: Is a directory",)


def test_only_variables_with_a_section_are_settings():
    env = {
        "RLMD_SOCKET": "/s",
        "RLMD_STATE_DIR": "/d",
        "RLMD_CACHE_DIR": "/c",
        "RLM_MODEL": "m",
        "OTHER__KEY": "x",
    }

    assert load(env=env).origins == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("gpt-5", "gpt-5"),
        ('"gpt-5"', "gpt-5"),
        ("a b", "a b"),
        ("", ""),
        ("a=b", "a=b"),
        ("x\ny=1", "x\ny=1"),
    ],
)
def test_the_value_of_an_override_is_toml_or_a_bare_text(text, value):
    assert load(overrides=[f"llm.model={text}"]).config.llm.model == value
    assert load(env={"RLMD_LLM__MODEL": text}).config.llm.model == value.strip()


def test_of_equal_overrides_the_last_holds():
    loaded = load(overrides=["doors.max_requests=1", "doors.max_requests=2"])

    assert loaded.config.doors.max_requests == 2


@pytest.mark.parametrize(
    ("text", "size"), [("7", 7), ("7 B", 7), ("64KiB", 65536), ("2 MiB", 2 << 20), ("1 GiB", 1 << 30)]
)
def test_a_size_is_a_number_or_a_text_with_a_unit(text, size):
    assert load(overrides=[f"memory.max_bytes={text}"]).config.memory.max_bytes == size


def test_paths_are_taken_from_home(home):
    config = load(overrides=['roots.allow=["~/src", "/srv"]', "llm.api_key_file=~/key"]).config

    assert config.roots.allow == (f"{home.path}/src", "/srv")
    assert f"{home.path}/.ssh" in config.roots.deny
    assert config.llm.api_key_file == f"{home.path}/key"


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().log.level = "debug"
