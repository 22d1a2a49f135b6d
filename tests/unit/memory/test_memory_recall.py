"""What comes back for which question, in which order, page by page."""

from itertools import chain

import pytest
import trio

from memory_world import note, opened
from rlmd.errors import BadArgument

pytestmark = pytest.mark.real_io


@pytest.fixture
async def memory(tmp_path):
    async with opened(tmp_path / "memory.db") as memory:
        yield memory


async def test_a_memory_comes_back_whole(memory):
    await memory.note("k", "first")
    await memory.note("k", "the lock is held\nwhile writing", "perf", "db", kind="decision")

    (item,) = (await memory.page(key="k")).items

    assert (item.key, item.value, item.tags) == ("k", "the lock is held\nwhile writing", ("perf", "db"))
    assert (item.project, item.version, item.score, item.status) == ("p", 2, 1.0, "unanchored")
    assert item.stored_at.endswith("Z")


async def test_what_nobody_stored_is_an_empty_page(memory):
    await memory.note("k")

    assert [
        await memory.keys(**question) for question in ({"key": "other"}, {"query": "zebra"}, {"tags": ("x",)})
    ] == [
        [],
        [],
        [],
    ]
    assert await memory.keys(project="nowhere") == []


async def test_prefixes_are_literal_and_come_in_order_of_keys(memory):
    await memory.store(*map(note, ("a/2", "a/10", "a%", "b/1", "a", "a/é")))

    assert await memory.keys(prefix="a/") == ["a/10", "a/2", "a/é"]
    assert await memory.keys(prefix="a%") == ["a%"]


async def test_tags_hold_any_or_all_and_not(memory):
    await memory.note("both", "", "x", "y")
    await memory.note("x", "", "x")
    await memory.note("y", "", "y")
    await memory.note("none")

    assert await memory.keys(tags=("x", "y")) == ["y", "x", "both"]
    assert await memory.keys(tags=("x", "y"), match="all") == ["both"]
    assert await memory.keys(tags=("x", "x"), match="all") == ["x", "both"]
    assert await memory.keys(tags=("x",), not_tags=("y",)) == ["x"]
    assert await memory.keys(not_tags=("x",)) == ["none", "y"]
    assert await memory.keys(tags=("x", "unknown"), match="all") == []


async def test_an_update_changes_the_tags_and_the_text_it_is_found_by(memory):
    await memory.note("k", "about zebras", "old")
    await memory.note("k", "about lions", "new")

    assert await memory.keys(tags=("old",)) == await memory.keys(query="zebras") == []
    assert await memory.keys(tags=("new",)) == await memory.keys(query="lions") == ["k"]


async def test_projects_are_apart_unless_all_are_asked(memory):
    await memory.note("k", "zebra", "t")
    await memory.note("k", "zebra", "t", project="q")

    for question in ({"key": "k"}, {"prefix": "k"}, {"query": "zebra"}, {"tags": ("t",)}, {}):
        assert [item.project for item in (await memory.page(**question)).items] == ["p"]
        everywhere = (await memory.page(**question, project="*")).items
        assert sorted(item.project for item in everywhere) == ["p", "q"]


async def test_text_is_found_by_stem_and_by_the_parts_of_identifiers(memory):
    await memory.note("camel", "see parseURLPath for that")
    await memory.note("snake", "see max_value_bytes for that")
    await memory.note("plain", "the daemons were running")

    assert await memory.keys(query="url") == ["camel"]
    assert await memory.keys(query="parseUrlPath") == ["camel"]
    assert await memory.keys(query="valueByte") == ["snake"]
    assert await memory.keys(query="Run a daemon") == ["plain"]


async def test_more_matching_and_rarer_words_rank_higher(memory):
    await memory.note("one", "lock and nothing else")
    await memory.note("two", "lock timeout")
    await memory.store(*[note(f"common{number}", "lock step") for number in range(5)])
    await memory.note("other", "unrelated")

    page = await memory.page(query="lock timeout")

    assert page.items[0].key == "two"
    assert "other" not in [item.key for item in page.items]
    scores = [item.score for item in page.items]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


async def test_stop_words_find_nothing_beside_others_and_something_alone(memory):
    await memory.note("the", "the the the")
    await memory.note("lock", "lock")

    assert await memory.keys(query="the lock") == ["lock"]
    assert await memory.keys(query="the") == ["the"]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "lock AND",
        "NEAR(lock",
        "key:lock",
        "lock*",
        "-lock",
        "(lock",
        "lock OR OR",
        "^lock",
        "' OR 1=1 --",
        "lock\0",
    ],
)
async def test_no_query_is_an_operator(memory, query):
    await memory.note("k", "lock")

    if "\0" in query:
        with pytest.raises(BadArgument, match="NUL"):
            await memory.keys(query=query)
    else:
        assert await memory.keys(query=query) == (["k"] if "lock" in query else [])


async def test_with_query_and_tags_both_hold(memory):
    await memory.note("both", "zebra", "t")
    await memory.note("text", "zebra")
    await memory.note("tag", "lion", "t")

    assert await memory.keys(query="zebra", tags=("t",)) == ["both"]


async def test_words_too_common_to_rank_still_find_everything(memory, monkeypatch):
    monkeypatch.setattr("rlmd.memory.query._POSTINGS_BUDGET", 3)
    await memory.store(*[note(f"common{number}", "lock") for number in range(5)])
    await memory.note("rare", "zebra")
    await memory.note("both", "zebra lock")

    page = await memory.page(query="lock zebra")

    assert sorted(item.key for item in page.items[:2]) == ["both", "rare"]
    assert [item.key for item in page.items[2:]] == [f"common{number}" for number in (4, 3, 2, 1, 0)]
    assert [item.score > 0 for item in page.items] == [True] * 2 + [False] * 5
    assert list(chain(*await memory.pages(query="lock zebra", limit=2))) == [item.key for item in page.items]


async def test_expired_memories_do_not_come_back(memory, monkeypatch):
    now_ns = 1_700_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now_ns)
    await memory.note("k", "zebra", "t", ttl_s=10)
    before = await memory.keys(key="k")
    now_ns += 10 * 10**9

    questions = ({"key": "k"}, {"prefix": "k"}, {"query": "zebra"}, {"tags": ("t",)}, {})
    assert (before, [await memory.keys(**question) for question in questions]) == (["k"], [[]] * 5)
    assert (await memory.recaller.holdings()).items == 0


async def test_since_and_until_are_inclusive_and_take_times_and_days(memory, monkeypatch):
    for number, second in enumerate(
        (1_767_225_600, 1_767_311_999, 1_767_312_000)
    ):  # 2026-01-01, its end, 2026-01-02
        monkeypatch.setattr("time.time_ns", lambda second=second: second * 10**9 + 123_456_789)
        await memory.note(f"k{number}")
    monkeypatch.undo()
    exact = (await memory.page(key="k1")).items[0].stored_at

    assert exact == "2026-01-01T23:59:59.123456Z"
    assert await memory.keys(since="2026-01-02") == ["k2"]
    assert await memory.keys(until="2026-01-01") == ["k1", "k0"]
    assert await memory.keys(since=exact, until=exact) == ["k1"]
    assert await memory.keys(since=1_767_312_000) == ["k2"]
    assert await memory.keys(until="2026-01-01T02:00:00+01:00") == ["k0"]


async def test_kinds_are_told_apart(memory):
    await memory.note("k1", kind="decision")
    await memory.note("k2")

    assert await memory.keys(kind="decision") == ["k1"]


async def test_a_long_value_is_cut_and_says_so(memory):
    await memory.note("k", "é" * 3000)

    (short,) = (await memory.page(key="k", value_chars=10)).items
    (whole,) = (await memory.page(key="k", value_chars=3000)).items

    assert short.value == "é" * 10 + "… [cut: 10 of 3000 characters; a larger value_chars gets the rest]"
    assert whole.value == "é" * 3000


@pytest.mark.parametrize(
    "question",
    [{"prefix": "k"}, {"tags": ("t", "even")}, {"query": "zebra"}, {"tags": ("t",), "match": "all"}, {}],
)
@pytest.mark.parametrize("project", ["p", "*"])
async def test_paging_returns_each_memory_once_though_writes_go_on(memory, question, project):
    everything = [f"k{number:02}" for number in range(20)]
    await memory.store(*[note(key, "zebra" + " stripe" * int(key[1:]), "t", "even") for key in everything])

    async def meanwhile(pages):
        await memory.store(
            note(f"new{pages}", "zebra zebra", "t", "even"),
            note(f"k{(pages * 3) % 20:02}", "zebra again", "t"),
            note(f"k{19 - pages:02}", "zebra stripe", "t"),
        )

    pages = await memory.pages(meanwhile, **question, limit=6, project=project)

    returned = [key for key in chain(*pages) if key.startswith("k")]
    assert sorted(returned) == everything
    assert all(len(page) == 6 for page in pages[:-1])


async def test_a_page_that_is_just_full_has_no_next(memory):
    for number in range(4):
        await memory.note(f"k{number}")

    assert await memory.pages(limit=2) == [["k3", "k2"], ["k1", "k0"]]


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"limit": 0}, "`limit`"),
        ({"limit": 201}, "`limit`"),
        ({"value_chars": 0}, "`value_chars`"),
        ({"since": "yesterday"}, "`since`"),
        ({"until": float("nan")}, "`until`"),
        ({"until": 1e300}, "`until`"),
        ({"query": "\ud800"}, "`query`"),
        ({"query": ""}, "`query`"),
        ({"key": "k" * 257}, "`key`"),
        ({"tags": ("",)}, "`tags`"),
        ({"cursor": "nonsense"}, "`cursor`"),
        ({"cursor": "é"}, "`cursor`"),
        ({"cursor": "W10"}, "`cursor`"),
        ({"history": True}, "`history`"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_by_name(memory, question, says):
    await memory.note("k")

    with pytest.raises(BadArgument, match=says):
        await memory.page(**question)


async def test_a_cursor_continues_only_its_own_question(memory):
    for number in range(3):
        await memory.note(f"k{number}", "zebra", "t")
    cursor = (await memory.page(tags=("t",), limit=1)).next_cursor

    assert await memory.keys(tags=("t",), limit=2, cursor=cursor, value_chars=5) == ["k1", "k0"]
    with pytest.raises(BadArgument, match="does not continue"):
        await memory.page(query="zebra", cursor=cursor)


async def test_a_cursor_outlives_the_process_that_gave_it(tmp_path):
    async with opened(tmp_path / "memory.db") as memory:
        for number in range(4):
            await memory.note(f"k{number}", "zebra")
        first = await memory.page(query="zebra", limit=2)
    async with opened(tmp_path / "memory.db") as memory:
        second = await memory.page(query="zebra", limit=2, cursor=first.next_cursor)

    assert sorted(item.key for item in (*first.items, *second.items)) == ["k0", "k1", "k2", "k3"]


async def test_cancelling_a_question_interrupts_it_and_frees_its_reader(memory, monkeypatch):
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n WHERE :now"
    )
    monkeypatch.setattr("rlmd.memory.search._COUNT", endless)
    for _ in range(3):
        with trio.move_on_after(0.02) as scope:
            await memory.recaller.holdings()
        assert scope.cancelled_caught

    await memory.note("k")
    assert await memory.keys(key="k") == ["k"]


async def test_holdings_count_what_stands(memory):
    await memory.note("k1", "x" * 10_000)
    await memory.note("k1", "y")
    await memory.note("k2")

    holdings = await memory.recaller.holdings()

    assert holdings.items == 2
    assert holdings.bytes > 10_000
    assert holdings.wal_bytes > 0
    assert await memory.recaller.integrity() == ()


async def test_integrity_is_not_fooled_by_a_reader_that_has_seen_an_older_index(memory):
    for number in range(60):
        await memory.note(f"k{number % 3}", f"lock {number}")
        await memory.keys(query="lock")

    assert await memory.recaller.integrity() == ()
