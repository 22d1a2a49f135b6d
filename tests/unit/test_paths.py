import os

import pytest

from rlmd import paths
from rlmd.errors import ConfigError
from rlmd.paths import cache_dir, config_files, make_private_dir, socket_path, state_dir


def test_the_environment_of_rlmd_comes_first():
    env = {
        "RLMD_SOCKET": "/s/x.sock",
        "RLMD_STATE_DIR": "/state",
        "RLMD_CACHE_DIR": "/cache",
        "XDG_RUNTIME_DIR": "/run/u",
    }

    assert (socket_path(env), state_dir(env), cache_dir(env)) == ("/s/x.sock", "/state", "/cache")


def test_then_the_xdg_directories():
    env = {
        "XDG_RUNTIME_DIR": "/run/u",
        "XDG_STATE_HOME": "/xs",
        "XDG_CACHE_HOME": "/xc",
        "XDG_CONFIG_HOME": "/xf",
    }

    assert socket_path(env) == "/run/u/rlmd/mcp.sock"
    assert (state_dir(env), cache_dir(env)) == ("/xs/rlmd", "/xc/rlmd")
    assert config_files(env) == ("/etc/rlmd/config.toml", "/xf/rlmd/config.toml")


def test_then_what_lies_below_home():
    env = {"HOME": "/h"}

    assert (state_dir(env), cache_dir(env)) == ("/h/.local/state/rlmd", "/h/.cache/rlmd")
    assert config_files(env)[1] == "/h/.config/rlmd/config.toml"


def test_empty_and_relative_xdg_values_count_as_unset():
    env = {"HOME": "/h", "RLMD_STATE_DIR": "", "XDG_STATE_HOME": "", "XDG_CACHE_HOME": "relative"}

    assert (state_dir(env), cache_dir(env)) == ("/h/.local/state/rlmd", "/h/.cache/rlmd")


def test_without_a_home_the_password_database_is_asked():
    assert state_dir({}).endswith("/.local/state/rlmd")


def test_a_relative_choice_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert socket_path({"RLMD_SOCKET": "x.sock"}) == str(tmp_path / "x.sock")


def test_a_socket_path_may_have_107_bytes_and_no_more():
    longest = "/" + "é" * 53

    assert socket_path({"RLMD_SOCKET": longest}) == longest
    with pytest.raises(ConfigError, match="has 108 bytes, a socket path may have 107; set RLMD_SOCKET"):
        socket_path({"RLMD_SOCKET": longest + "x"})


def test_without_a_runtime_directory_the_socket_lies_in_tmp(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)

    assert socket_path({}) == "/tmp/rlmd-4000000000/mcp.sock"


def test_a_default_socket_directory_open_to_others_is_refused(tmp_path):
    directory = tmp_path / "rlmd"
    directory.mkdir(mode=0o755)

    with pytest.raises(ConfigError, match=f"chmod 700 {directory}"):
        socket_path({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_default_socket_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "rlmd").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)

    with pytest.raises(ConfigError, match="not a directory of this user"):
        socket_path({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_symlink_in_place_of_the_default_socket_directory_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "rlmd").symlink_to(tmp_path / "real")

    with pytest.raises(ConfigError, match="not a directory of this user"):
        socket_path({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_private_directories_are_made_with_their_parents(tmp_path):
    make_private_dir(str(tmp_path / "a" / "b"))

    assert [oct((tmp_path / name).stat().st_mode) for name in ("a", "a/b")] == ["0o40700", "0o40700"]


def test_a_private_directory_that_exists_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o750)

    make_private_dir(str(tmp_path))

    assert oct(tmp_path.stat().st_mode) == "0o40750"


def test_a_file_where_a_directory_should_be_is_a_config_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")

    with pytest.raises(ConfigError, match="is not a directory"):
        make_private_dir(str(blocked))
    with pytest.raises(ConfigError, match="cannot be made a directory: Not a directory"):
        make_private_dir(str(blocked / "below"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 12345, -1)

    with pytest.raises(ConfigError, match="belongs to another user"):
        make_private_dir(str(tmp_path))


@pytest.mark.parametrize(("place", "kind"), [("/srv/a b/x.db", "nfs4"), ("/home/x.db", "ext4")])
def test_the_innermost_mount_says_what_a_file_lies_on(place, kind):
    mounts = (
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 0:44 / /srv/a\\040b rw shared:1 - nfs4 host:/x rw\n"
        "3 1 0:45 / /sr rw - cifs //host/x rw\n"
    )

    assert paths.filesystem_of(place, mounts) == kind
    assert ("nfs4" in paths.NETWORKED, "ext4" in paths.NETWORKED) == (True, False)
