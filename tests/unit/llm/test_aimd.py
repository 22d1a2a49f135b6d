"""How many calls an endpoint is taken to bear."""

from rlmd.llm.aimd import Aimd


def answer_round(aimd, now):
    """Answer as many calls as the limit allows, all sent just before *now*."""
    in_flight = aimd.limit
    for _ in range(in_flight):
        aimd.answered(now, now - 0.1, in_flight)
    return aimd.limit


def test_it_doubles_each_round_up_to_the_highest():
    aimd = Aimd(start=8, highest=100)

    assert [answer_round(aimd, now) for now in range(1, 6)] == [16, 32, 64, 100, 100]


def test_the_start_is_never_over_the_highest():
    assert Aimd(start=64, highest=4).limit == 4


def test_a_burst_of_refusals_halves_it_once():
    aimd = Aimd(start=64, highest=100)

    for _ in range(64):
        aimd.congested(now=1.0, sent_at=0.5)

    assert aimd.limit == 32


def test_a_refusal_of_what_was_sent_after_the_cut_halves_it_again():
    aimd = Aimd(start=64, highest=100)

    for now in (1.0, 2.0, 3.0):
        aimd.congested(now, sent_at=now - 0.5)

    assert aimd.limit == 8


def test_what_is_sent_at_the_moment_of_a_cut_belongs_to_its_burst():
    aimd = Aimd(start=64, highest=100)
    aimd.congested(now=1.0, sent_at=0.5)

    aimd.congested(now=1.2, sent_at=1.0)

    assert aimd.limit == 32


def test_one_call_is_always_allowed():
    aimd = Aimd(start=2, highest=100)

    for now in range(1, 9):
        aimd.congested(now, sent_at=now - 0.5)

    assert aimd.limit == 1


def test_answers_to_what_was_sent_before_a_cut_raise_nothing():
    aimd = Aimd(start=64, highest=100)
    aimd.congested(now=1.0, sent_at=0.5)

    for _ in range(63):
        aimd.answered(1.5, 0.5, in_flight=63)

    assert aimd.limit == 32


def test_answers_that_did_not_use_the_limit_raise_nothing():
    aimd = Aimd(start=64, highest=100)

    for _ in range(1000):
        aimd.answered(1.5, 1.0, in_flight=31)

    assert aimd.limit == 64


def test_after_a_storm_it_is_soon_back_near_where_the_storm_began_and_rests_below():
    aimd = Aimd(start=64, highest=100)
    for now in range(1, 7):
        aimd.congested(now, sent_at=now - 0.5)

    limits = [answer_round(aimd, 6.1 + now / 10) for now in range(1, 20)]

    assert limits == [2, 4, 8, 16, 32, 58, 59, 60, 61, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63]


def test_after_its_rest_it_tries_for_more_by_one_a_round():
    aimd = Aimd(start=64, highest=100)
    aimd.congested(now=0.0, sent_at=-1.0)
    for now in range(1, 10):
        answer_round(aimd, now)
    rested = aimd.limit

    limits = [answer_round(aimd, now) for now in range(10, 14)]

    assert (rested, limits) == (63, [63, 64, 65, 66])
