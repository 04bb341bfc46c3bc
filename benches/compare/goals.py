"""The goals of the comparison: a row each of what, goal, what was measured and whether that meets it.

What is measured is a list of values, each with the recall or the thing it is of, and met or not; a row is met when all of
its values are. A recall that one of two engines never reached is a value None, which meets nothing.
"""
from statistics import median


def ratio(one, other, field="qps", of=None):
    """The median over the rounds of the ratio of two points; None where one is missing."""
    return median(x[field] / y[of or field] for x, y in zip(one["rounds"], other["rounds"])) if one and other else None


def value(at, x, holds, note=""):
    return dict(at=at, value=x, met=x is not None and bool(holds(x)), note=note)


def row(part, what, goal, values):
    return dict(part=part, what=what, goal=goal, measured=values, met=bool(values) and all(v["met"] for v in values))


class Points:
    """The timed points of a run by engine and recall."""

    def __init__(self, results):
        self.targets = results["targets"]
        self.listed = tuple(results["engines"])
        self.rows = {name: x for name, x in results["engines"].items() if "points" in x}

    def of(self, name, target):
        return self.rows[name]["points"][target] if name in self.rows else None

    def best(self, target, field, starts):
        """Name and point of the quickest engine whose name starts so."""
        able = {name: self.of(name, target) for name in self.rows if name.startswith(starts) and self.of(name, target)}
        name = max(able, key=lambda n: able[n][field], default=None)
        return name, able.get(name)

    def against(self, mine, targets, starts, holds, field="qps"):
        """Values of the ratio of ours to the best of some peers at each recall; none where the run had no such peer."""
        out = []
        for target in targets:
            if target in self.targets and any(name.startswith(starts) for name in self.listed):
                name, peer = self.best(target, field, starts)
                out.append(value(target, ratio(self.of(mine, target), peer, field), holds, name or "none reached it"))
        return out

    def own(self, targets, get, holds):
        return [value(t, get(t), holds) for t in targets if t in self.targets]


def of_search(r):
    p, every, ivf, flat = Points(r), ("0.90", "0.95", "0.99"), ("faiss",), ("faiss Flat",)

    def scaling(t):
        point = p.of("ours", t)
        return ratio(point, point, "batch_qps", "batch_one_qps")

    def tail(t):
        return p.of("ours", t) and p.of("ours", t)["tail"]
    return [
        row("search", "search, plain cache, 1 thread: ours with default settings / faiss' best IVF kind", ">= 2.0",
            p.against("ours", ("0.95", "0.99"), ivf, lambda x: x >= 2.0)),
        row("search", "the same / hnswlib (M 16)", ">= 1.5",
            p.against("ours", ("0.95", "0.99"), ("hnswlib",), lambda x: x >= 1.5)),
        row("search", "2-thread batches: ours / faiss' best IVF kind", ">= 1.3",
            p.against("ours", every, ivf, lambda x: x >= 1.3, "batch_qps")),
        row("search", "search, sealed cache (every probed byte decrypted for each query), 1 thread: ours / faiss IVFFlat on "
            "plaintext", ">= 2.5", p.against("ours sealed", ("0.95",), flat, lambda x: x >= 2.5)),
        row("search", "sealed cache: ours / faiss' best IVF kind on plaintext", ">= 1.2",
            p.against("ours sealed", ("0.95",), ivf, lambda x: x >= 1.2)),
        row("search", "sealed / plain, ours", ">= 0.5",
            p.own(("0.95",), lambda t: ratio(p.of("ours sealed", t), p.of("ours", t)), lambda x: x >= 0.5)),
        row("search", "2 threads / 1 thread, batches", ">= 1.85", p.own(every, scaling, lambda x: x >= 1.85)),
        row("search", "p99 / p50, single queries", "<= 3", p.own(every, tail, lambda x: x <= 3)),
        row("search", f"float32 lists, batches of {r['batch']:,} on 2 threads: ours / faiss IVFFlat", ">= 2.5",
            p.against("ours flat", every, flat, lambda x: x >= 2.5, "batch_qps")),
    ]


def of_train(r):
    faiss, other = r["ratios"].get("faiss", {}), r["ratios"].get("superkmeans", {})
    return [
        row("train", "training as search sees it: flat lists, vectors scanned at recall@10 0.95, ours / faiss (10 iterations, "
            "256 vectors a list)", "<= 1.03", [value("", faiss.get("scanned"), lambda x: x <= 1.03)]),
        row("train", "list balance k sum(size^2) / n^2", "<= 1.2",
            [value("", r["medians"]["ours"]["balance"], lambda x: x <= 1.2)]),
        row("train", "time of that training: faiss / ours", ">= 15",
            [value("clustering", faiss.get("time"), lambda x: x >= 15)]),
        row("train", "time of that training: superkmeans (hierarchical, 2 refinements) / ours, at scanned vectors no worse",
            ">= 2.0, <= 1", [value("clustering", other.get("time"), lambda x: x >= 2.0),
                             value("scanned, ours / its", other.get("scanned"), lambda x: x <= 1)]),
    ]


def of_build(r):
    return [row("build", "whole build (upsert all, durable, and train): faiss' train and add in memory / ours", ">= 1.0",
                [value("", r["ratio"], lambda x: x >= 1.0)])]


def of_memory(r):
    return [row("memory", "resident bytes, plain cache, default quantizer, against raw float32: without cached vectors, with",
                "<= 0.5, <= 1.4",
                [value("without", r["codes_only"]["grown_of_raw"], lambda x: x <= 0.5),
                 value("with", r["cached"]["grown_of_raw"], lambda x: x <= 1.4)])]


def goals(parts):
    """All rows that the parts which ran give; none for what they did not measure."""
    of = dict(search=of_search, train=of_train, build=of_build, memory=of_memory)
    return [x for part, rows in of.items() if part in parts for x in rows(parts[part]["results"]) if x["measured"]]
