"""The shipped units under a real systemd, as process 1 of namespaces of its own."""

from __future__ import annotations

import json
import sys

import pytest

from systemd.machine import HOME, PERSON, UID, Machine, Unit, booted, until, what_is_missing

MISSING = what_is_missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

TREE = f"{HOME}/tree"
SETTINGS = f"{HOME}/.config/rlmd/config.toml"
CELLS = ["kinds = llm_query_batched(['JUDGE ' + text for text in files.values()])\nprint('SORTED', kinds)",
         "submit({'apples': len(kinds)}, ['note 2 is about apples'])"]  # fmt: skip
SCRIPT = [
    {"when": "JUDGE", "reply": "apple", "after_s": 4, "tokens_in": 5, "tokens_out": 1},
    {"when": "SORTED", "reply": f"```repl\n{CELLS[1]}\n```", "tokens_in": 50, "tokens_out": 9},
    {"when": "How many", "reply": f"```repl\n{CELLS[0]}\n```", "tokens_in": 50, "tokens_out": 9},
]


@pytest.fixture(scope="module")
def machine():
    with booted() as machine:
        for number in range(1, 4):
            machine.write(f"{TREE}/n{number}.txt", f"note {number} is about apples\n", "644")
        machine.write(f"{HOME}/script.jsonl", "\n".join(map(json.dumps, SCRIPT)))
        yield machine


@pytest.fixture(scope="module", params=["the person's manager", "the machine's manager"])
def unit(machine: Machine, request: pytest.FixtureRequest):
    """A service that is installed; each test leaves it as it found it, running or not."""
    is_users = request.param == "the person's manager"
    if is_users:
        unit = Unit(machine, "rlmd.service", f"/run/user/{UID}/rlmd/mcp.sock", is_users)
        machine.rlmd("service", "install")
    else:
        unit = Unit(machine, f"rlmd@{PERSON}.service", f"/run/rlmd/{PERSON}/mcp.sock", is_users)
        as_root(machine, "service", "install", "--system", PERSON)
    yield unit
    if is_users:
        machine.rlmd("service", "uninstall")
    else:
        as_root(machine, "service", "uninstall", "--system", PERSON)


@pytest.fixture(autouse=True)
def starts_forgotten(machine: Machine):
    """More starts than a daemon may have in two minutes are none of its fault here."""
    for name in ("rlmd.service", "rlmd.socket"):
        machine.person("systemctl", "--user", "reset-failed", name, check=False)
    machine.run("systemctl", "reset-failed", f"rlmd@{PERSON}.service", f"rlmd@{PERSON}.socket", check=False)


def as_root(machine: Machine, *arguments: str):
    return machine.run(sys.executable, "-m", "rlmd", *arguments)


@pytest.fixture
def settings(unit: Unit):
    """What the daemon reads when it is started next; gone afterwards, and the daemon with it."""
    yield lambda text: unit.machine.write(SETTINGS, text)
    unit.machine.run("rm", "-f", SETTINGS)
    unit.systemctl("stop", unit.name)


def test_the_first_connection_starts_the_daemon_which_says_that_it_is_ready(unit: Unit):
    unit.systemctl("stop", unit.name)
    before = unit["ActiveState"], unit.machine.modes(unit.socket)

    status = unit.status()

    assert before == ("inactive", [f"600 {PERSON}"])
    assert status["state"] == "ready"
    assert (unit["ActiveState"], unit["Type"], unit.pid) == ("active", "notify", status["pid"])
    assert unit["StatusText"] == f"serving at {unit.socket}"


def test_its_directories_are_the_persons_alone_and_the_rest_is_read_only(unit: Unit):
    unit.status()
    state, cache, runtime = (
        (f"{HOME}/.local/state/rlmd", f"{HOME}/.cache/rlmd", f"/run/user/{UID}/rlmd")
        if unit.is_users
        else (f"/var/lib/rlmd/{PERSON}", f"/var/cache/rlmd/{PERSON}", f"/run/rlmd/{PERSON}")
    )

    tried = {place: may_write(unit, place) for place in (state, cache, runtime, HOME, TREE, "/tmp", "/etc")}

    assert unit.machine.modes(state, cache, runtime, unit.socket) == [
        *[f"700 {PERSON}"] * 3, f"600 {PERSON}",
    ]  # fmt: skip
    assert [place for place, could in tried.items() if could] == [state, cache, runtime]


def may_write(unit: Unit, place: str) -> bool:
    """Try it as the person, among the mounts that the service has."""
    tried = unit.machine.run(
        "nsenter", "-t", str(unit.pid), "-m", "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
        "touch", f"{place}/probe", check=False,
    )  # fmt: skip
    return tried.code == 0


def test_code_runs_behind_all_of_its_locks(unit: Unit):
    kept = unit.rlmd("exec", "tree", "--keep", "--json", stdin="x = len(files)\ngrep('apples')[0].line")
    reaching = [
        "open('/etc/passwd')",
        f"open('{HOME}/script.jsonl')",
        "import os; os.listdir('/')",
        "import os; os.kill(1, 0)",
        "import os; os.fork()",
        "import _thread; _thread.start_new_thread(print, ())",
    ]
    tried = [unit.rlmd("exec", stdin=code, check=False).err for code in reaching]
    facts = unit.status()["sandbox"]

    assert json.loads(kept.out)["stdout"] == "1\n"
    assert all("PermissionError" in told or "can't start new thread" in told for told in tried), tried
    assert [layer.partition("-")[0] for layer in facts["layers"]] == ["landlock", "rlimit", "seccomp"]
    assert facts["available"]


def test_the_process_holds_no_privilege_and_its_calls_are_filtered(unit: Unit):
    unit.status()

    lines = unit.machine.run("cat", f"/proc/{unit.pid}/status").out.splitlines()

    facts = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert (facts["NoNewPrivs"], facts["Seccomp"], facts["CapBnd"]) == ("1", "2", "0000000000000000")


def test_a_daemon_that_hangs_is_replaced_and_nobody_loses_a_connection(unit: Unit):
    unit.systemctl("stop", unit.name)
    with unit.having("watchdog", "WatchdogSec=2"):
        before = unit.status()["pid"]
        restarts = int(unit["NRestarts"])

        unit.kill("STOP")
        waiting = unit.machine.start_rlmd("status", "--json", RLMD_SOCKET=unit.socket)
        out, err = waiting.communicate(timeout=60)

        assert waiting.returncode == 0, err
        assert json.loads(out)["pid"] == unit.pid != before
        assert int(unit["NRestarts"]) == restarts + 1


def test_what_was_acknowledged_survives_kill_9(unit: Unit):
    unit.rlmd("memory", "store", "door", "the key lies under the mat", "--project", "user")
    restarts = int(unit["NRestarts"])

    before = unit.kill("KILL")
    until(lambda: unit.pid not in {0, before}, "it is started again")
    recalled = unit.rlmd("memory", "recall", "--key", "door", "--project", "user")

    assert "under the mat" in recalled.out
    assert int(unit["NRestarts"]) == restarts + 1


def test_a_stop_in_the_middle_of_work_is_in_time_and_the_job_goes_on_later(unit: Unit, settings):
    settings(f'[daemon]\ngrace_s = 2\n[llm]\nscript = "{HOME}/script.jsonl"\n')
    unit.systemctl("restart", unit.name)
    asking = unit.machine.start_rlmd(
        "ask", "How many are about apples?", "tree", "--mode", "rlm", "--json", RLMD_SOCKET=unit.socket
    )
    until(lambda: [job for job in jobs(unit) if job["calls"]], "the job has paid for something")

    unit.systemctl("stop", unit.name)
    stopped = unit["Result"], unit["ExecMainStatus"], unit["ActiveState"]
    asking.communicate(timeout=60)
    (job,) = jobs(unit)
    answer = json.loads(unit.rlmd("jobs", "wait", job["job_id"], "--json").out)

    assert stopped == ("success", "0", "inactive")
    assert (answer["state"], answer["answer"]) == ("done", {"apples": 3})


def jobs(unit: Unit):
    return [json.loads(line) for line in unit.rlmd("jobs", "list", "--json").out.splitlines()]


def test_a_reload_takes_over_new_settings_and_refuses_wrong_ones_as_a_whole(unit: Unit, settings):
    before = unit.status()["pid"]

    settings('[log]\nlevel = "debug"\n')
    unit.systemctl("reload", unit.name)
    until(lambda: unit["StatusText"] == "reloaded log.level", "the new level holds")
    settings("[log]\nlevel = 7\n")
    unit.systemctl("reload", unit.name)
    until(lambda: unit["StatusText"].startswith("config error: "), "the wrong one is refused")

    status = unit.status()
    assert (status["pid"], unit["ActiveState"]) == (before, "active")
    assert any("log.level" in problem["what"] for problem in status["problems"])


def test_a_wrong_setting_is_told_to_who_waits_and_not_tried_again_and_again(unit: Unit, settings):
    unit.systemctl("stop", unit.name)
    settings("[llm]\nno_such_key = 1\n")

    refused = unit.rlmd("status", check=False)
    until(lambda: unit["ActiveState"] == "failed", "it has given up")

    assert "no_such_key" in refused.err
    assert (unit["ExecMainStatus"], unit["NRestarts"]) == ("78", "0")
    assert unit.door["ActiveState"] == "active"


def test_a_key_is_handed_over_as_a_credential(unit: Unit):
    """The key lies where the daemon does not look by itself, so that it can only come from systemd."""
    unit.machine.write("/etc/elsewhere/key", "sk-or-v1-0123456789abcdef", "644", 0)
    without = unit.status()["llm"]["endpoint"]

    with unit.having("key", "LoadCredential=api-key:/etc/elsewhere/key"):
        unit.systemctl("restart", unit.name)
        given = unit.status()["llm"]["endpoint"]

    assert without is None
    assert "openrouter" in given


def test_events_are_in_the_journal_with_their_fields(unit: Unit):
    unit.rlmd("exec", stdin="1 + 1")
    unit.machine.run("journalctl", "--sync")

    lines = unit.machine.run("journalctl", "-o", "json", "RLMD_TOOL=rlm_exec", f"_PID={unit.pid}").out

    entry = json.loads(lines.splitlines()[-1])
    assert (entry["RLMD_EVENT"], entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]) == (
        "request.ended",
        "rlmd",
        "6",
    )
    assert float(entry["RLMD_TOOK_S"]) > 0
    assert entry["_SYSTEMD_USER_UNIT" if unit.is_users else "_SYSTEMD_UNIT"] == unit.name


def test_without_user_namespaces_it_runs_and_so_does_code(machine: Machine):
    told = machine.rlmd("service", "install", "--no-user-namespaces").out
    unit = Unit(machine, "rlmd.service", f"/run/user/{UID}/rlmd/mcp.sock", is_users=True)

    ran = machine.rlmd("exec", "tree", stdin="print(len(files))").out
    held = unit["PrivateUsers"], unit["NoNewPrivileges"], unit.status()["sandbox"]["available"]
    machine.rlmd("service", "uninstall")

    assert "no-user-namespaces.conf" in told
    assert ran == "3\n"
    assert held == ("no", "yes", True)


def test_nobody_else_gets_in(unit: Unit):
    unit.status()
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"

    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    tried = unit.machine.run(*other, "/usr/bin/python3", "-c", code, unit.socket, check=False)

    assert "PermissionError" in tried.err


def test_uninstalling_leaves_what_is_the_persons(machine: Machine):
    machine.rlmd("service", "install")
    machine.rlmd("memory", "store", "door", "under the mat", "--project", "user")

    told = machine.rlmd("service", "uninstall").out
    again = machine.rlmd("service", "uninstall")
    status = machine.rlmd("service", "status", check=False)

    assert "memory and settings stay" in told
    assert again.code == 0
    assert status.code == 1
    assert machine.run("find", f"{HOME}/.config/systemd/user", "-name", "rlmd*").out == ""
    assert machine.modes(f"{HOME}/.local/state/rlmd/memory.db") == [f"600 {PERSON}"]


def test_the_key_of_auth_set_is_handed_over_when_the_service_is_installed(machine: Machine):
    key = "sk-or-v1-0123456789abcdef"
    machine.rlmd("auth", "set", stdin=key)
    told = machine.rlmd("service", "install").out
    unit = Unit(machine, "rlmd.service", f"/run/user/{UID}/rlmd/mcp.sock", is_users=True)
    unit.status()

    environment = machine.run("cat", f"/proc/{unit.pid}/environ").out.split("\0")
    directory = dict(line.split("=", 1) for line in environment if line)["CREDENTIALS_DIRECTORY"]
    held = machine.run("nsenter", "-t", str(unit.pid), "-m", "cat", f"{directory}/api-key").out
    machine.rlmd("service", "uninstall")
    machine.run("rm", f"{HOME}/.config/rlmd/api-key")

    assert "credentials.conf" in told
    assert held.strip() == key
