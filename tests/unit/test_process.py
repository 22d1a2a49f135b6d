"""Whose limit binds first, read from made-up /proc and cgroup trees."""

from rlmd.process import process_facts


def tree(tmp_path, *, cgroup_max="max"):
    own = tmp_path / "proc" / "self"
    (own / "fd").mkdir(parents=True)
    for number in range(4):
        (own / "fd" / str(number)).touch()
    (own / "status").write_text("VmRSS:\t 2048 kB\nThreads:\t7\n")
    (own / "cgroup").write_text("12:memory:/elsewhere\n0::/user.slice/rlmd.service\n")
    (tmp_path / "proc" / "meminfo").write_text("MemTotal:  1048576 kB\n")
    unit = tmp_path / "cg" / "user.slice" / "rlmd.service"
    unit.mkdir(parents=True)
    (unit / "memory.max").write_text("max\n")
    (unit.parent / "memory.max").write_text(f"{cgroup_max}\n")
    return {"proc": tmp_path / "proc", "cgroups": tmp_path / "cg"}


def test_an_unlimited_process_is_limited_by_the_machine(tmp_path):
    found = process_facts(**tree(tmp_path))

    assert (found.limit_bytes, found.limit_source) == (1 << 30, "MemTotal")
    assert (found.rss_bytes, found.open_fds, found.threads) == (2 << 20, 3, 7)


def test_a_parent_cgroup_limits_its_children(tmp_path):
    found = process_facts(**tree(tmp_path, cgroup_max="5000"))

    assert (found.limit_bytes, found.limit_source) == (5000, "cgroup memory.max")


def test_the_real_process_has_figures():
    found = process_facts()

    assert 0 < found.rss_bytes < found.limit_bytes
    assert found.open_fds >= 3
