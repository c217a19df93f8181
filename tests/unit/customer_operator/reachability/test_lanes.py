"""Who is due: those that fail again and again wait for each other, and nobody for them."""

from customer_operator.reachability.lanes import Lane, Lanes


def test_whoever_has_been_due_longest_comes_first() -> None:
    lane = Lane()
    for name, due in (("b", 2.0), ("a", 1.0), ("c", 9.0)):
        lane.put(name, due)

    assert [lane.take(5.0) for _ in range(3)] == ["a", "b", None]
    assert (lane.first(), len(lane)) == (9.0, 1)


def test_the_last_time_that_was_put_holds_be_it_earlier_or_later() -> None:
    lane = Lane()
    for name, due in (("sooner", 9.0), ("sooner", 1.0), ("later", 1.0), ("later", 8.0), ("never", 1.0)):
        lane.put(name, due)
    lane.drop("never")

    assert [lane.take(5.0), lane.take(5.0)] == ["sooner", None]
    assert [lane.take(9.0), lane.take(9.0)] == ["later", None]


def test_a_lane_does_not_grow_with_what_counts_no_more() -> None:
    lane = Lane()
    for number in range(10_000):
        lane.put("one", float(number))

    assert len(lane._heap) < 100
    assert [lane.take(1e9), lane.take(1e9)] == ["one", None]


def test_those_that_fail_get_half_of_the_places_and_the_others_come_first() -> None:
    lanes = Lanes(4)
    for name in ("f1", "f2", "f3"):
        lanes.put(name, 1.0, failing=True)
    lanes.put("new", 2.0, failing=False)

    assert [lanes.take(3.0) for _ in range(4)] == ["new", "f1", "f2", None]
    assert lanes.wait(3.0) is None, "there is no place for the third"
    lanes.done("f1")
    assert lanes.wait(3.0) == 0.0
    assert lanes.take(3.0) == "f3"


def test_one_place_serves_both() -> None:
    lanes = Lanes(1)
    lanes.put("f", 1.0, failing=True)

    assert lanes.take(1.0) == "f"


def test_one_who_changes_the_lane_is_due_once() -> None:
    lanes = Lanes(4)
    lanes.put("a", 1.0, failing=True)
    lanes.put("a", 2.0, failing=False)

    assert lanes.wait(0.5) == 1.5
    assert [lanes.take(9.0), lanes.take(9.0)] == ["a", None]
