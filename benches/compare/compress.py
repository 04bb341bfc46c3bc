#!/usr/bin/env python3
"""Our quantizers beside faiss's at equal bytes: size, training, encoding, recall, in one run.

    compress.py --lib target/release/libcyborg.so --data DIR [DIR ...] [--out benches/results] [--quick]

Every pair has the same data, the same number of lists and as nearly the same bytes of code as the two allow; within a
pair ours and faiss's are trained in turns, --rounds times, and times are medians. What is compared:

- recall@10 of the codes alone, at --probes lists and at all lists. Ours runs with rerank_mult 1: its 10 candidates are put
  in order by their vectors, which does not change the set of them, so that its recall is the codes' own.
- recall@10 with reranking: the 10 R best by code put in order by their vectors. For faiss that is the share of the true
  neighbours among its 10 R candidates, which is what IndexRefineFlat would return; R is the same on both sides.
- training: ours is the job's time up to the end of its phase "quantizer" (sampling, clustering, quantizer), faiss's is
  train(): k-means of 10 iterations over at most 256 vectors a list, and the quantizer on what it samples. "quantizer" is
  the quantizer's part of each. The whole job (which also encodes, measures its recall curve and makes all durable) is
  beside faiss's train() and add().
- encoding: vectors a second; ours is the phase "encoding", faiss's is add(), which assigns as well.

faiss gets, of the kinds of as many bits, METRIC_L2 or METRIC_INNER_PRODUCT, residual codes or not, what has the best
recall; RaBitQ gets a random rotation before it (it needs one) and an unquantized query. "our lists" is faiss over the lists of our flat index,
found out by asking for whole lists: there quantizers are compared and nothing else. A recall counts as at least faiss's
when it is not lower by more than TIE, some two standard errors of the difference.
"""
import blas  # first: numpy and faiss read what it sets
import argparse
import tempfile
from pathlib import Path
from statistics import median

import faiss
import numpy as np

import capi
from common import (KEY, QUANTIZERS, head_lines, heading, load, number, plain_lists, pq_parts, quantizer_options, say, settled,
                    timed, upsert_all, write)
from dataset import Dataset, unit

K, TIE = 10, 0.001


# --- faiss --------------------------------------------------------------------------------------------------------------

class Peer:
    """One of faiss's kinds over given centroids."""

    def __init__(self, kind, metric, residual, turn):
        self.kind, self.metric, self.residual, self.turn = kind, metric, residual, turn

    def train(self, base, centroids):
        """Trains the quantizer alone: the lists are given."""
        kind, bits, _ = self.kind
        dim = base.shape[1]
        self.coarse = faiss.IndexFlat(dim, self.metric)
        self.coarse.add(self.turned(centroids))
        given = (self.coarse, dim, len(centroids))
        if kind == "flat":
            self.index = faiss.IndexIVFFlat(*given, self.metric)
        elif kind == "sq":
            code = getattr(faiss.ScalarQuantizer, f"QT_{bits}")
            self.index = faiss.IndexIVFScalarQuantizer(*given, code, self.metric, self.residual)
        elif kind == "pq" and bits == 4:
            self.index = faiss.IndexIVFPQFastScan(*given, pq_parts(dim, 4), 4, self.metric)
        elif kind == "pq":
            self.index = faiss.IndexIVFPQ(*given, pq_parts(dim, 8), 8, self.metric)
        else:
            self.index = faiss.IndexIVFRaBitQ(*given, self.metric, True, bits)
            self.index.qb = 0
        if kind == "pq":
            self.index.by_residual = self.residual
        self.index.train(self.turned(base))

    def turned(self, x):
        return self.turn.apply(x) if self.turn else x

    def add(self, base):
        self.index.add(self.turned(base))

    def search(self, queries, k, probes):
        self.index.nprobe = probes
        return self.index.search(self.turned(queries), k)[1]

    def name(self):
        kind, bits, turn = self.kind
        first = {None: "", "random": "RR,", "learned": "OPQ,"}[turn]
        size = {"flat": "", "sq": f",SQ{bits}", "pq": f",PQx{bits}{'fs' if bits == 4 else ''}", "rabitq": f",RaBitQ{bits}"}[kind]
        return f"{first}IVF{size} ({'l2' if self.metric == faiss.METRIC_L2 else 'ip'}{'' if self.residual else ', no residuals'})"


def rotation(kind, base):
    """What goes before a kind, and the seconds to learn it."""
    _, bits, turn = kind
    dim = base.shape[1]
    if turn == "random":
        made = faiss.RandomRotationMatrix(dim, dim)
        made.init(1234)
        return made, 0.0
    if turn == "learned":
        made = faiss.OPQMatrix(dim, pq_parts(dim, bits))
        return made, timed(lambda: made.train(sample(base, 256 * 256)))[0]
    return None, 0.0


def sample(x, most):
    return x if len(x) <= most else x[np.sort(np.random.default_rng(1).permutation(len(x))[:most])]


# Ours, and the kinds of faiss's of as many bits: (kind, bits, what goes before). tqmse are its newer scalar codes.
PAIRS = {"flat": [("flat", 32, None)], "flat16": [("sq", "fp16", None)],
         "sq8": [("sq", "8bit", None), ("sq", "8bit_tqmse", None)], "sq4": [("sq", "4bit", None), ("sq", "4bit_tqmse", None)],
         "sq2": [("sq", "2bit_tqmse", None)],
         "pq8": [("pq", 8, None)], "pq4": [("pq", 4, None)], "pq4r": [("pq", 4, "learned")],
         **{f"rabitq{bits}": [("rabitq", bits, "random")] for bits in range(1, 9)}}


def clusters(base, lists, metric):
    """faiss's own lists, as its IVF kinds train them."""
    coarse = faiss.IndexFlat(base.shape[1], metric)
    index = faiss.IndexIVFFlat(coarse, base.shape[1], lists, metric)
    seconds, _ = timed(lambda: index.train(base))
    return coarse.reconstruct_n(0, lists), seconds


# --- ours ---------------------------------------------------------------------------------------------------------------

def our_lists(index, base, lists):
    """The mean of each of our lists. A query with one probe and many results gives a whole list back: that of the vector
    asked for. Lists longer than a query can answer stay out, as do a few that no vector asks for."""
    left, means = np.ones(len(base), bool), []
    longest = index.api.CYBORG_MAX_TOP_K
    for row in range(len(base)):
        if left[row] and len(means) < lists:
            members = index.query(base[row:row + 1], longest, n_probes=1)[0]
            members = members[members >= 0]
            members = members[left[members]]
            if left[row] and row in members:
                means.append(base[members].mean(0))
            left[members] = False
            left[row] = False
    return np.array(means, np.float32)


# --- a dataset ----------------------------------------------------------------------------------------------------------

def measure(a, api, data, folder):
    lists = plain_lists(data.n)
    say(f"{data.name}: {data.n:,} x {data.dim}, {lists} lists; faiss's lists")
    theirs = {metric: clusters(data.base, lists, metric) for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT)}
    db = capi.Db(api, f"file:{folder}/{data.name}.cyborg", threads=a.threads)
    rows, means, failures = {}, None, []
    for name in a.only:
        say(f"{name} and {', '.join(f'{kind} {bits}' for kind, bits, _ in PAIRS[name])}")
        try:
            index = db.create(name, KEY, dimension=data.dim, metric=api.CYBORG_METRIC_COSINE, id_kind=api.CYBORG_ID_KIND_U64,
                              auto_train_disabled=1, **quantizer_options(api, name))
            upsert_all(index, data.base)
            row = pair(a, data, index, name, lists, theirs)
        except (AttributeError, capi.CyborgError) as failed:      # a row less, not the end of the run
            say(f"{name}: {failed}")
            failures.append(f"{name}: {failed}")
            continue
        if means is None:
            means = our_lists(index, data.base, lists)
            say(f"{len(means)} of our {lists} lists found")
        row["recall"] = recalls(a, data, index, row.pop("kept"), lists, means)
        row["stored_bytes"] = settled(index) / data.n
        row["code_bytes"] = getattr(index.describe(), "code_bytes", 0)
        rows[name] = row
        index.free()
    db.close()
    return dict(lists=lists, lists_found=len(means), quantizers=rows, failures=failures)


def recalls(a, data, index, best, lists, means):
    """where -> who -> rerank -> recall@10."""
    same = [Peer(best.kind, metric, best.residual, best.turn) for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT)]
    for p in same:
        p.train(data.base, means if p.metric == faiss.METRIC_L2 else unit(means))
        p.add(data.base)
    same = max(same, key=lambda p: worth(a, data, p, lists))
    reranks, out = [1, *a.rerank], {}
    for where, queries, probes in ((f"{a.probes} lists", data.queries[:a.queries], a.probes),
                                   ("all lists", data.queries[:a.full_queries], lists)):
        out[where] = dict(ours={f"x{r}": among(data, index.query(queries, K, n_probes=probes, rerank_mult=r)) for r in reranks})
        for who, peer in (("faiss", best), ("faiss_our_lists", same)):
            found = peer.search(queries, K * max(reranks), min(probes, peer.coarse.ntotal))     # best first
            out[where][who] = {f"x{r}": among(data, found[:, :K * r]) for r in reranks}
    return out


def pair(a, data, index, name, lists, theirs):
    """Times of ours and of faiss's, trained in turns; and faiss's kind of the best recall, trained."""
    variants = [(kind, metric, residual) for kind in PAIRS[name] for metric in theirs
                for residual in ([True, False] if kind[0] in ("sq", "pq") and kind[1] != "fp16" else [True])]
    turns = {kind: rotation(kind, data.base) for kind in PAIRS[name]}       # once: OPQ takes faiss minutes
    ours, seconds = [], []
    for turn in range(a.rounds):
        ours.append(index.train(n_lists=lists))
        tried = []
        for kind, metric, residual in variants:
            coarse, coarse_s = clusters(data.base, lists, metric) if turn else theirs[metric]
            peer = Peer(kind, metric, residual, turns[kind][0])
            train_s, _ = timed(lambda: peer.train(data.base, coarse))
            add_s, _ = timed(lambda: peer.add(data.base))
            peer.seconds = dict(coarse=coarse_s, quantizer=turns[kind][1] + train_s, add=add_s)
            tried.append(peer)
        kept = max(tried, key=lambda peer: worth(a, data, peer, lists)) if turn == 0 else tried[0]
        variants = [(kept.kind, kept.metric, kept.residual)]
        seconds.append(kept.seconds)
    middle = {phase: median(o[phase] for o in ours) for phase in ours[0]}
    chosen = {part: median(s[part] for s in seconds) for part in seconds[0]}
    trained = median(o["sampling"] + o["clustering"] + o["quantizer"] for o in ours)
    peer_trained = median(s["coarse"] + s["quantizer"] for s in seconds)
    return dict(peer=kept.name(), peer_code_bytes=kept.index.code_size, phases=middle, peer_phases=chosen, train_s=trained,
                peer_train_s=peer_trained, job_s=middle["job"], peer_job_s=peer_trained + chosen["add"],
                encode_per_s=data.n / max(middle["encoding"], 2e-3), peer_encode_per_s=data.n / chosen["add"],
                rounds=dict(ours=ours, faiss=seconds), kept=kept)


def worth(a, data, peer, lists):
    """What a kind of faiss's is chosen by: the mean of its recall at some lists and at all."""
    queries = data.queries[:a.full_queries]
    return sum(data.recall(peer.search(queries, K, probes), K) for probes in (a.probes, lists)) / 2


def among(data, found):
    """Share of the true 10 nearest among all that were found: recall@10 after exact reranking of them."""
    hits = [(f[:, None] == g[None, :K]).any(0).sum() for f, g in zip(np.asarray(found), data.gt)]
    return float(np.mean(hits) / K)


# --- report -------------------------------------------------------------------------------------------------------------

def report(doc):
    lines = [f"# Compression: our quantizers beside faiss's, {doc['date']}", "", *head_lines(doc)]
    met = []
    for d in doc["datasets"]:
        r, q = d["results"], d["results"]["quantizers"]
        lines += ["", f"## {d['data']['name']}: {d['data']['n']:,} x {d['data']['dim']}, {r['lists']} lists", "",
                  f"{d['data']['recipe']}; medians of {doc['rounds']} trainings in turns. faiss over our lists: "
                  f"{r['lists_found']} of them were found.", "",
                  "| quantizer | faiss's | code bytes, ours | faiss's | stored bytes a vector | train s | faiss / ours | quantizer s "
                  "| faiss / ours | whole job s | faiss / ours | encoded/s | ours / faiss |", "|" + "---|" * 13]
        for name, x in q.items():
            lines.append(
                f"| {name} | {x['peer']} | {x['code_bytes']} | "
                f"{x['peer_code_bytes']} | {number(x['stored_bytes'])} | {x['train_s']:.2f} | {x['peer_train_s'] / x['train_s']:.2f} | "
                f"{x['phases']['quantizer']:.2f} | {fitted(name, x)} | {x['job_s']:.2f} | "
                f"{x['peer_job_s'] / x['job_s']:.2f} | {x['encode_per_s']:,.0f} | {x['encode_per_s'] / x['peer_encode_per_s']:.2f} |")
            met.append((d["data"]["name"], name, "training at most half of faiss's", x["peer_train_s"] / x["train_s"] >= 2))
        for where in next(iter(q.values()))["recall"]:
            reranks = list(next(iter(q.values()))["recall"][where]["ours"])
            heads = [f"{who}{'' if r == 'x1' else ', rerank ' + r}" for r in reranks for who in ("ours", "faiss", "our lists")]
            lines += ["", f"recall@10, {where}:", "", f"| quantizer | {' | '.join(heads)} |", "|" + "---|" * (1 + len(heads))]
            for name, x in q.items():
                at = x["recall"][where]
                lines.append(f"| {name} | " + " | ".join(f"{at[who][r]:.4f}" for r in reranks
                                                         for who in ("ours", "faiss", "faiss_our_lists")) + " |")
                met.append((d["data"]["name"], name, f"recall of the codes at {where} at least faiss's",
                            at["ours"]["x1"] + TIE >= max(at["faiss"]["x1"], at["faiss_our_lists"]["x1"])))
        if r["failures"]:
            lines += ["", *(f"- **failed** {failure}" for failure in r["failures"])]
    lines += ["", "## Goals", ""]
    missed = [f"- **missed** {data} {name}: {what}" for data, name, what, good in met if not good]
    lines += [f"{sum(good for *_, good in met)} of {len(met)} met.", *missed]
    return "\n".join(lines) + "\n"


def fitted(name, x):
    """How much longer faiss fits its quantizer; flat has none."""
    return "-" if name.startswith("flat") else f"{x['peer_phases']['quantizer'] / max(x['phases']['quantizer'], 2e-3):.2f}"


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--lib", required=True, type=Path)
    ap.add_argument("--data", required=True, type=Path, nargs="+")
    ap.add_argument("--out", type=Path)
    ap.add_argument("--dir", help="where the stores are made", default=None)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rows", type=int, help="that many vectors of each dataset")
    ap.add_argument("--probes", type=int, default=64)
    ap.add_argument("--rerank", type=int, nargs="*", default=[2, 5, 10])
    ap.add_argument("--queries", type=int, default=10_000)
    ap.add_argument("--full-queries", type=int, default=1000, help="queries when all lists are probed")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--only", nargs="+", default=QUANTIZERS, choices=QUANTIZERS)
    ap.add_argument("--quick", action="store_true", help="20,000 vectors, 1,000 queries, one round")
    a = ap.parse_args()
    if a.quick:
        a.rows, a.queries, a.full_queries, a.rounds = a.rows or 20_000, 1000, 500, 1
    a.lib, a.only = a.lib.resolve(), ["flat"] + [name for name in QUANTIZERS if name in a.only and name != "flat"]
    faiss.omp_set_num_threads(a.threads)
    api = capi.Api(a.lib)
    doc = dict(heading(api), rounds=a.rounds, datasets=[])
    for path in a.data:
        data = Dataset(path, a.rows)
        with tempfile.TemporaryDirectory(dir=a.dir) as folder:
            results = measure(a, api, data, Path(folder))
        doc["datasets"].append(dict(data=dict(data.info, name=data.name, n=data.n), results=results))
        doc["load"] = load()
        write(a.out, doc, report(doc), "compression")
    print(report(doc))


if __name__ == "__main__":
    main()
