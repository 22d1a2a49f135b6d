"""Whose call goes next."""

from rlmd.llm.fair import IN_A_ROW, FairQueue, Ticket


def ticket(job, *, interactive=False, model="m"):
    return Ticket(job, model, 1, interactive)


def filled(*tickets):
    queue = FairQueue()
    for each in tickets:
        queue.add(each)
    return queue


def jobs(queue, *, ending=True):
    """Take all there is and name the jobs; each call is over before the next where *ending*."""
    names = []
    while taken := queue.take(lambda _: True):
        names.append(taken.job)
        if ending:
            queue.ended(taken.job)
    return "".join(names)


def test_jobs_take_turns_however_many_calls_each_has():
    queue = filled(*[ticket(job) for job in "aaaaaabbc"])

    assert jobs(queue) == "abcabaaaa"


def test_a_job_with_calls_under_way_lets_the_others_catch_up():
    queue = filled(*[ticket("a") for _ in range(3)])
    for _ in range(3):
        queue.take(lambda _: True)
    for job in "aaabbbb":
        queue.add(ticket(job))

    assert jobs(queue, ending=False) == "bbbabaa"


def test_interactive_calls_go_first():
    queue = filled(ticket("a"), ticket("b"), ticket("x", interactive=True))

    assert jobs(queue) == "xab"


def test_what_waits_behind_interactive_calls_still_moves():
    queue = filled(ticket("b"), *[ticket("x", interactive=True) for _ in range(IN_A_ROW + 3)])

    assert jobs(queue) == "x" * IN_A_ROW + "b" + "x" * 3


def test_interactive_calls_of_one_job_do_not_hold_up_those_of_another():
    queue = filled(*[ticket("x", interactive=True) for _ in range(5)], ticket("y", interactive=True))

    assert jobs(queue) == "xyxxxx"


def test_calls_of_one_job_keep_their_order():
    first, second = ticket("a"), ticket("a")
    queue = filled(first, second)

    assert [queue.take(lambda _: True), queue.take(lambda _: True)] == [first, second]


def test_a_model_without_room_does_not_hold_up_another():
    queue = filled(ticket("a", model="full"), ticket("a", model="free"))

    taken = queue.take(lambda each: each.model == "free")

    assert taken.model == "free"
    assert len(queue) == 1
    assert queue.take(lambda each: each.model == "free") is None


def test_one_that_leaves_is_not_called():
    gone, stays = ticket("a"), ticket("a")
    queue = filled(gone, stays)

    queue.remove(gone)

    assert queue.take(lambda _: True) is stays
    assert queue.take(lambda _: True) is None


def test_one_that_is_hurried_goes_with_the_interactive_ones():
    late = ticket("b")
    queue = filled(ticket("a"), ticket("a"), late)

    queue.hurry(late)

    assert queue.take(lambda _: True) is late


def test_hurrying_one_that_does_not_wait_only_marks_it():
    queue, taken = FairQueue(), ticket("a")

    queue.hurry(taken)

    assert taken.interactive
    assert len(queue) == 0


def test_a_job_that_is_over_is_forgotten():
    queue = filled(ticket("a"))

    queue.take(lambda _: True)
    queue.ended("a")

    assert not queue._served
    assert not queue._under_way
