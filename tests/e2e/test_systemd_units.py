"""The units as systemd reads them, without a running systemd."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
HIGHEST_EXPOSURE = {"rlmd.service": 36, "rlmd@root.service": 25}
"""Tenths, of 100; what reading trees and the network costs."""

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


@pytest.fixture
def units(home, monkeypatch):
    """Copies of the units whose programs exist on any machine."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home.path))
    for unit in UNITS.glob("rlmd*.*"):
        text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", unit.read_text(), flags=re.MULTILINE)
        (home.path / unit.name.replace("@.", "@root.")).write_text(text)
    return home.path


def analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )


def without_remarks_on_the_machine(complaints):
    """Drop what is said of units that are not ours."""
    return [line for line in complaints.splitlines() if "rlmd" in line]


@pytest.mark.parametrize(
    ("unit", "scope"),
    [
        ("rlmd.service", "--user"),
        ("rlmd.socket", "--user"),
        ("rlmd@root.service", "--system"),
        ("rlmd@root.socket", "--system"),
    ],
)
def test_systemd_finds_nothing_to_complain_of(units, unit, scope):
    verified = analyze("verify", scope, units / unit)

    assert without_remarks_on_the_machine(verified.stderr + verified.stdout) == []
    assert verified.returncode == 0


def test_systemd_does_complain_of_a_wrong_unit(units):
    (units / "rlmd.service").write_text("[Service]\nExecStart=/bin/true\nWatchdogSec=soon\n")

    verified = analyze("verify", "--user", units / "rlmd.service")

    assert without_remarks_on_the_machine(verified.stderr) != []


@pytest.mark.parametrize("unit", HIGHEST_EXPOSURE)
def test_a_service_is_exposed_no_more_than_its_work_needs(units, unit):
    rated = analyze("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE[unit]}", units / unit)

    assert rated.returncode == 0, rated.stdout


def test_a_service_that_were_exposed_more_would_be_noticed(units):
    text = (units / "rlmd.service").read_text().replace("SystemCallFilter=", "#").replace("Protect", "#")
    (units / "rlmd.service").write_text(text)

    rated = analyze("security", "--offline=true", "--threshold=36", units / "rlmd.service")

    assert rated.returncode != 0


def test_both_units_agree_on_the_socket_and_its_name():
    service, door = ((UNITS / name).read_text() for name in ("rlmd.service", "rlmd.socket"))

    assert "ListenStream=%t/rlmd/mcp.sock" in door
    assert "FileDescriptorName=mcp" in door
    assert "Requires=rlmd.socket" in service


@pytest.mark.parametrize("unit", ["rlmd.service", "rlmd@.service"])
@pytest.mark.parametrize("call", ["landlock_create_ruleset", "landlock_restrict_self"])
def test_the_calls_of_the_sandbox_are_let_through_by_name(unit, call):
    """@system-service of systemd 252 leaves them out, and then the sandbox has one lock less."""
    filters = re.findall(r"^SystemCallFilter=([^~\n]+)$", (UNITS / unit).read_text(), flags=re.MULTILINE)

    assert call in " ".join(filters).split()


@pytest.mark.parametrize(
    "key", ["StateDirectory", "LoadCredential", "PrivateTmp", "ProtectControlGroups", "DynamicUser"]
)
def test_nothing_that_breaks_a_users_service_is_set(key):
    """Each is right for other daemons and wrong here: see the comments in the unit."""
    assert not re.search(rf"^{key}=", (UNITS / "rlmd.service").read_text(), flags=re.MULTILINE)
