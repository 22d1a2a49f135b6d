"""Whose limit binds first, read from made-up /proc and cgroup trees."""

import resource

from rlmd.process import bound_descriptors, memory_use, process_facts


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


def test_a_setting_below_all_limits_binds_first_and_counts_children(tmp_path):
    places = tree(tmp_path)
    (tmp_path / "proc/self/task/1").mkdir(parents=True)
    (tmp_path / "proc/self/task/1/children").write_text("77 78 ")
    (tmp_path / "proc/77").mkdir()
    (tmp_path / "proc/77/status").write_text("VmRSS:\t 1024 kB\n")

    use = memory_use(own_bytes=4 << 20, **places)

    assert (use.limit_bytes, use.source) == (4 << 20, "daemon.memory_bytes")
    assert (use.used_bytes, use.share) == (3 << 20, 0.75)


def test_a_cgroup_counts_all_that_is_in_it_but_what_the_kernel_gives_up(tmp_path):
    places = tree(tmp_path, cgroup_max=str(10 << 20))
    limited = tmp_path / "cg" / "user.slice"
    (limited / "memory.current").write_text(f"{6 << 20}\n")
    (limited / "memory.stat").write_text(f"anon 5\ninactive_file {1 << 20}\n")

    use = memory_use(**places)

    assert (use.source, use.used_bytes, use.share) == ("cgroup memory.max", 5 << 20, 0.5)


def test_pressure_is_that_of_our_cgroup_else_of_the_machine(tmp_path):
    places = tree(tmp_path)
    line = "some avg10={}.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=9.00 avg60=0.00 avg300=0.00 total=1\n"
    (tmp_path / "proc/pressure").mkdir()
    (tmp_path / "proc/pressure/memory").write_text(line.format(3))
    of_machine = memory_use(**places).stalled_percent
    (tmp_path / "cg/user.slice/rlmd.service/memory.pressure").write_text(line.format(7))

    assert (of_machine, memory_use(**places).stalled_percent) == (3.5, 7.5)


def test_descriptors_are_bounded_by_the_setting_and_by_what_is_allowed():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        allowed = bound_descriptors(300)
        found = process_facts().max_fds
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert allowed == found == 300
