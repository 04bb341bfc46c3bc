"""How the comparisons find an engine's settings, one way for all of them, and how they read its rates.

An engine answers `search(queries, setting, threads)` with ids and makes `caller(queries, setting)`, a function that answers
query i alone; a setting is a dict of its own words. Its `ways` say what may be searched: for each setting of `outer` the
smallest step of a knob is bisected that reaches a recall, and of what reaches it the quickest is kept.
"""
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Callable

K = 10
# What candidates are reranked, as multiples of K. The search stops once two more in a row were slower.
DEPTHS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64]
WARM = 32


@dataclass
class Way:
    """Settings of an engine: steps of a knob, within each of the outer settings."""
    knob: Callable[[int], dict]
    least: int
    most: int
    outer: list = field(default_factory=lambda: [{}])


def fewest(recall, target, least, most, guess=4, share=1 / 48):
    """The smallest step, to that share of it, whose recall reaches the target; None where none does, or where recall grows
    no more and is far below. The search begins at a guess, which changes how long it takes and nothing else."""
    low, high, stride, before = least - 1, min(max(guess, least), most), 1.25, -1.0
    while (r := recall(high)) < target:
        if high == most or (stride == 2 and high >= 64 and r - before < 0.002 and target - r > 0.01):
            return None
        low, before = high, r
        high, stride = min(max(high + 1, int(high * stride)), most), min(2 * stride - 1, 2)
    stride = 1.25
    while low < least and high > least:     # the guess reached it: downwards until something does not
        step, stride = max(least, min(high - 1, int(high / stride))), min(2 * stride - 1, 2)
        if recall(step) < target:
            low = step
        else:
            high = step
    while high - low > max(1, int(low * share)):
        middle = (low + high) // 2
        low, high = (low, middle) if recall(middle) >= target else (middle, high)
    return high


def quickest(engine, data, queries, targets, readings, threads):
    """target -> name of a reading -> the setting that reaches the target with the highest rate, its recall and the rate.

    A reading gives a rate of a setting. Recalls are of `queries`, the first ones of the dataset, and are found once."""
    seen = {}

    def recall(setting):
        key = tuple(setting.items())
        if key not in seen:
            seen[key] = data.recall(engine.search(queries, setting, threads), K)
        return seen[key]

    best = {target: {} for target in targets}
    for way in engine.ways:
        guess = 4
        for target in targets:
            own, worse = {}, 0
            for outer in way.outer:
                step = fewest(lambda s: recall({**way.knob(s), **outer}), target, way.least, way.most, guess)
                if step is None:
                    continue
                guess, setting, better = step, {**way.knob(step), **outer}, False
                for name, reading in readings.items():
                    rate = reading(setting)
                    if name not in own or rate > own[name]["rate"]:
                        own[name], better = dict(setting=setting, recall=recall(setting), rate=rate), True
                worse = 0 if better else worse + 1
                if worse == 2:
                    break
            for name, point in own.items():
                if name not in best[target] or point["rate"] > best[target][name]["rate"]:
                    best[target][name] = point
    return best


def singles(call, n, seconds, start=0):
    """One query at a time: queries a second, and the seconds of each."""
    took, i = [], start
    for j in range(WARM):
        call((start + n - WARM + j) % n)
    begin = now = time.perf_counter()
    while now - begin < seconds:
        call(i % n)
        i, before, now = i + 1, now, time.perf_counter()
        took.append(now - before)
    return len(took) / (now - begin), took


def batches(search, queries, size, seconds, start=0):
    """Queries a second of `search(queries)` in batches of that size; at least one."""
    size, done, begin = min(size, len(queries)), 0, time.perf_counter()
    at = start % (len(queries) // size)
    while done == 0 or time.perf_counter() - begin < seconds:
        search(queries[at * size:(at + 1) * size])
        done, at = done + size, (at + 1) % (len(queries) // size)
    return done / (time.perf_counter() - begin)


def first_single(engine, queries, seconds=0.06):
    """A reading, for choosing among settings: queries a second, one at a time."""
    def reading(setting):
        call = engine.caller(queries, setting)
        return median(singles(call, len(queries), seconds, 331 * i)[0] for i in range(3))
    return reading


def first_batch(engine, queries, size, threads):
    """The same in batches."""
    def reading(setting):
        return median(batches(lambda q: engine.search(q, setting, threads), queries, size, 0.05, i) for i in range(3))
    return reading
