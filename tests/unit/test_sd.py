"""The words systemd understands, sent to a socket that stands for it."""

import os
import socket
import subprocess
import sys

import pytest

from rlmd import sd


@pytest.fixture
def manager(home, monkeypatch):
    """Stand for systemd's notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(home.path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(home.path / "notify"))
        yield manager


def test_assignments_arrive_as_lines_of_one_message(manager):
    assert sd.notify("READY=1", "STATUS=serving")

    assert manager.recv(4096) == b"READY=1\nSTATUS=serving"


def test_an_abstract_address_is_understood(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0rlmd-test-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@rlmd-test-{os.getpid()}")

        assert sd.notify("READY=1")

        assert manager.recv(4096) == b"READY=1"


def test_nothing_is_sent_where_there_is_no_systemd(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert not sd.notify("READY=1")


@pytest.mark.parametrize("address", ["/nonexistent/notify", "vsock:2:1", ""])
def test_a_manager_that_cannot_be_reached_is_survived(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    assert not sd.notify("READY=1")


def test_a_reload_carries_the_time_it_began(manager):
    sd.reloading()

    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdecimal()


@pytest.mark.parametrize(
    ("interval_us", "pid", "seconds"),
    [
        ("30000000", "self", 30.0),
        ("30000000", None, 30.0),
        ("30000000", "1", None),
        ("0", "self", None),
        ("soon", "self", None),
        (None, None, None),
    ],
)
def test_the_watchdog_interval_is_ours_or_nobodys(monkeypatch, interval_us, pid, seconds):
    for name, value in (("WATCHDOG_USEC", interval_us), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, str(os.getpid()) if value == "self" else value)

    assert sd.watchdog_interval() == seconds


@pytest.fixture
def inheritable_pair():
    """Two neighbouring descriptors that a child would inherit."""
    first = os.open(os.devnull, os.O_RDONLY)
    pair = [os.dup2(first, 300), os.dup2(first, 301)]
    os.close(first)
    yield pair
    for fd in pair:
        os.close(fd)


def test_activated_sockets_come_by_name_and_are_kept_from_children(monkeypatch, inheritable_pair):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "mcp:http")

    handed = sd.listen_fds(first_fd=300)

    assert handed == {"mcp": [300], "http": [301]}
    assert not any(os.get_inheritable(fd) for fd in inheritable_pair)
    assert not [name for name in os.environ if name.startswith("LISTEN_")]


def test_sockets_without_a_name_are_unknown(monkeypatch, inheritable_pair):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")

    assert sd.listen_fds(first_fd=300) == {"unknown": [300, 301]}


def test_sockets_meant_for_another_process_are_left_alone(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")

    assert sd.listen_fds() == {}
    assert "LISTEN_FDS" not in os.environ


def test_a_real_listening_socket_is_taken_over_by_an_activated_process(home):
    taker = (
        "import os, socket, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "import rlmd.sd\n"
        "(fd,) = rlmd.sd.listen_fds()['mcp']\n"
        "connection, _ = socket.socket(fileno=fd).accept()\n"
        "connection.sendall(b'taken')\n"
    )
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(home.socket))
        listener.listen()
        client.settimeout(20)
        client.connect(str(home.socket))
        activated = subprocess.Popen(
            [sys.executable, "-c", taker, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "mcp", "PYTHONPATH": os.pathsep.join(sys.path)},
        )

        answer = client.recv(100)

    assert activated.wait(20) == 0
    assert answer == b"taken"
