"""The work queue against a naive model, over random sequences of operations."""

import random
from dataclasses import dataclass, field

import pytest

from customer_operator.scheduling.queue import Priority, WorkQueue
from tests.support.queues import Clock, take

PRIORITIES = list(Priority)


@dataclass
class Model:
    """What the queue is to do, said in the simplest way."""

    age_step: float
    waiting: dict[str, tuple[Priority, float, int]] = field(default_factory=dict)
    in_flight: set[str] = field(default_factory=set)
    arrivals: int = 0

    def add(self, name: str, priority: Priority, due: float) -> None:
        old = self.waiting.get(name)
        new = (min(priority, old[0]), min(due, old[1])) if old else (priority, due)
        if old is None or new != old[:2]:
            self.arrivals += 1
            self.waiting[name] = (*new, self.arrivals)

    def take(self, now: float) -> str | None:
        due = {name: item for name, item in self.waiting.items() if item[1] <= now and name not in self.in_flight}
        if not due:
            return None
        name = min(due, key=lambda each: (due[each][1] + due[each][0] * self.age_step, due[each][2]))
        del self.waiting[name]
        self.in_flight.add(name)
        return name


@pytest.mark.parametrize("seed", range(40))
async def test_random_operations_agree_with_a_naive_model(seed: int) -> None:
    dice, clock = random.Random(seed), Clock()
    queue, model = WorkQueue(clock=clock, age_step=4.0), Model(age_step=4.0)
    for _ in range(300):
        operation = dice.choice(("add", "add", "delay", "take", "take", "done", "pass"))
        name, priority = dice.choice("abcdef"), dice.choice(PRIORITIES)
        delay = float(dice.randrange(1, 12)) if operation == "delay" else 0.0
        if operation in ("add", "delay"):
            queue.add(name, priority, delay=delay)
            model.add(name, priority, clock.now + delay)
        elif operation == "take":
            work, expected = await take(queue), model.take(clock.now)
            assert (work.name if work else None) == expected
        elif operation == "done" and model.in_flight:
            finished = dice.choice(sorted(model.in_flight))
            queue.done(finished)
            model.in_flight.remove(finished)
        else:
            clock.now += dice.randrange(0, 5)
        assert queue.in_flight() == len(model.in_flight)
        assert queue.delayed() == sum(item[1] > clock.now for item in model.waiting.values())
