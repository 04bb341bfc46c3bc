"""The engines that are compared: ours and its peers, each behind one face (settings.py tells which).

`build(data, shared)` takes the vectors in and gives what that took; `bytes` says what the index holds in memory by its own
account; `close()` gives it back. Peers are called through their Python packages with as little between as these allow, as
ours is through ctypes: one query at a time is one foreign call into buffers made before.
"""
from dataclasses import dataclass

import faiss
import numpy as np

import capi
from common import KEY, pq_parts, quantizer_options, timed, upsert_all
from settings import DEPTHS, K, Way

METRICS = {"ip": faiss.METRIC_INNER_PRODUCT, "l2": faiss.METRIC_L2}


class Shared:
    """What engines of one run have in common: the library, the number of lists, faiss's centroids by metric."""

    def __init__(self, api, data, lists, threads):
        self.api, self.data, self.lists, self.threads = api, data, lists, threads
        self.kept, self.seconds = {}, {}

    def centroids(self, metric):
        """As faiss's IVF kinds train them: 10 iterations over 256 vectors a list, on the sphere for inner product. Once."""
        if metric not in self.kept:
            index = faiss.index_factory(self.data.dim, f"IVF{self.lists},Flat", METRICS[metric])
            self.seconds[metric] = timed(lambda: index.train(self.data.base))[0]
            self.kept[metric] = faiss.downcast_index(index.quantizer).reconstruct_n(0, self.lists)
        return self.kept[metric]


# --- ours ---------------------------------------------------------------------------------------------------------------

def ladder(step):
    """Wished recalls, from 0.5 halfway to 1 every eight steps."""
    return dict(target_recall=round(1 - 0.5 * 2 ** (-step / 8), 6))


class Ours:
    """An index with number ids. Its settings: so many probes with so many candidates reranked, or the library's own choice
    of both for a wished recall."""
    family = "ours"

    def __init__(self, name, quantizer=None, sealed=False):
        self.name, self.quantizer, self.sealed = name, quantizer, sealed

    def build(self, data, shared):
        api, options = shared.api, {}
        if self.sealed:
            options["cache_mode"] = api.CYBORG_CACHE_MODE_SEALED
        self.db = capi.Db(api, "memory:", threads=shared.threads, **options)
        index = create(self.db, data.dim, self.quantizer)
        upserted = upsert_all(index, data.base)
        phases = index.train(**(dict(n_lists=shared.lists) if self.quantizer else {}))
        info = index.describe()
        self.over(index, info.n_lists)
        if not self.quantizer:
            self.ways.append(Way(ladder, 0, 96))
        # Every list and many vectors into the cache, sealed there or not, before the first reading.
        index.query(data.queries[:64], K, n_probes=info.n_lists)
        names = {getattr(api, f"CYBORG_QUANTIZER_{q}"): q.lower() for q in ("FLAT", "SQ", "PQ", "RABITQ")}
        return dict(train_s=phases["job"], add_s=upserted["seconds"], lists=info.n_lists,
                    quantizer=f"{names[info.quantizer]}{info.quantizer_bits}", code_bytes=info.code_bytes)

    def over(self, index, lists, depths=DEPTHS):
        """The same face over an index that is there, by probes and depths alone."""
        self.index, flat = index, self.quantizer and self.quantizer.startswith("flat")
        # Without a number the library leaves candidates unread that are far behind.
        outer = [{}] if flat else [{}, *(dict(rerank_mult=depth) for depth in depths)]
        self.ways = [Way(lambda p: dict(n_probes=p), 1, lists, outer)]
        return self

    def bytes(self):
        stats = self.index.stats()
        return stats.cache_bytes + stats.resident_bytes

    def search(self, queries, setting, threads):
        return self.index.query(queries, K, threads=1 if threads == 1 else 0, **setting)

    def caller(self, queries, setting):
        return self.index.caller(queries, K, **setting)

    def work(self, queries, setting):
        return self.index.work(queries, K, **setting)

    def close(self):
        self.index.free()
        self.db.close()


def create(db, dim, quantizer=None, name="index"):
    """An index as the comparisons make it; without a quantizer by the library's defaults."""
    api = db.api
    return db.create(name, KEY, dimension=dim, metric=api.CYBORG_METRIC_COSINE, id_kind=api.CYBORG_ID_KIND_U64,
                     auto_train_disabled=1, **(quantizer_options(api, quantizer) if quantizer else {}))


# --- peers --------------------------------------------------------------------------------------------------------------

@dataclass
class Faiss:
    """One of faiss's IVF kinds by its factory string, over centroids that all kinds of a metric share. On unit vectors both
    metrics have the same neighbours. `turned`: a random rotation goes before, which RaBitQ needs; `refine`: candidates are
    reranked by their vectors."""
    code: str
    metric: str
    refine: bool = False
    turned: bool = False
    family = "faiss"

    @property
    def name(self):
        return f"faiss {'RR,' if self.turned else ''}{self.code}{'+refine' if self.refine else ''} {self.metric}"

    def build(self, data, shared):
        lists, base = shared.lists, data.base
        centroids = shared.centroids(self.metric)
        before = f"RR{data.dim}," if self.turned else ""
        self.own = self.index = faiss.index_factory(data.dim, f"{before}IVF{lists},{self.code}", METRICS[self.metric])
        self.ivf = faiss.extract_index_ivf(self.own)      # a view into what self.own keeps alive

        def train():
            given = centroids
            if self.turned:
                turn = faiss.downcast_VectorTransform(faiss.downcast_index(self.own).chain.at(0))
                turn.train(base[:1])
                given = turn.apply(centroids)
            faiss.downcast_index(self.ivf.quantizer).add(given)     # it is full then, and nothing is clustered again
            self.own.train(base)
        train_s, _ = timed(train)
        if self.refine:
            self.index = faiss.IndexRefineFlat(self.own)
        add_s, _ = timed(lambda: self.index.add(base))
        self.held = data.n * (self.ivf.code_size + 8 + (4 * data.dim if self.refine else 0)) + 4 * lists * data.dim
        outer = [dict(k_factor=depth) for depth in DEPTHS] if self.refine else [{}]
        self.ways = [Way(lambda p: dict(nprobe=p), 1, lists, outer)]
        self.pointers = None
        return dict(train_s=shared.seconds[self.metric] + train_s, add_s=add_s, lists=lists, code_bytes=self.ivf.code_size)

    def bytes(self):
        return self.held

    def use(self, setting, threads):
        faiss.omp_set_num_threads(threads)
        self.ivf.nprobe = setting["nprobe"]
        if self.refine:
            self.index.k_factor = setting["k_factor"]

    def search(self, queries, setting, threads):
        self.use(setting, threads)
        return self.index.search(queries, K)[1]

    def caller(self, queries, setting):
        self.use(setting, 1)
        if self.pointers is None or self.pointers[0] is not queries:      # what index.search makes anew for each call
            self.pointers = queries, [faiss.swig_ptr(queries[i:i + 1]) for i in range(len(queries))]
        out = np.empty((1, K), np.float32), np.empty((1, K), np.int64)
        distances, ids = map(faiss.swig_ptr, out)
        search, pointers = self.index.search_c, self.pointers[1]

        def one(i, kept=out):
            search(1, pointers[i], K, distances, ids)
        return one

    def close(self):
        self.index = self.own = self.ivf = None


class Graph:
    """What the two libraries of navigable graphs share: M 16, ef_construction 100, and ef, which is searched."""
    M, BUILD = 16, 100
    ways = [Way(lambda ef: dict(ef=ef), K, 2000)]

    def build(self, data, shared):
        self.make(data)
        return dict(train_s=0.0, add_s=timed(lambda: self.add(data.base, shared.threads))[0])

    def close(self):
        self.index = None


class Hnswlib(Graph):
    name, family = "hnswlib M=16", "hnswlib"

    def make(self, data):
        import hnswlib      # here, so that a peer which is missing is one row that fails
        self.index = hnswlib.Index(space="ip", dim=data.dim)
        self.index.init_index(max_elements=data.n, ef_construction=self.BUILD, M=self.M)

    def add(self, base, threads):
        self.index.add_items(base, num_threads=threads)

    def bytes(self):
        return self.index.index_file_size()

    def search(self, queries, setting, threads):
        self.index.set_ef(setting["ef"])
        return self.index.knn_query(queries, K, num_threads=threads)[0].astype(np.int64)

    def caller(self, queries, setting):
        self.index.set_ef(setting["ef"])
        find = self.index.knn_query
        return lambda i: find(queries[i:i + 1], K, 1)


class Usearch(Graph):
    name, family = "usearch M=16 f32", "usearch"

    def make(self, data):
        from usearch.index import Index
        self.index = Index(ndim=data.dim, metric="ip", dtype="f32", connectivity=self.M, expansion_add=self.BUILD)

    def add(self, base, threads):
        self.index.add(np.arange(len(base)), base, threads=threads)

    def bytes(self):
        return self.index.serialized_length

    def search(self, queries, setting, threads):
        self.index.expansion_search = setting["ef"]
        return self.index.search(queries, K, threads=threads).keys.reshape(len(queries), -1).astype(np.int64)

    def caller(self, queries, setting):
        self.index.expansion_search = setting["ef"]
        find = self.index.search
        return lambda i: find(queries[i], K, threads=1)


def roster(dim, quick=False):
    """The engines of a run; the goals compare ours with the quickest of a family, so that more peers only help them."""
    quarter, half = f"PQ{pq_parts(dim, 8)}x8", f"PQ{pq_parts(dim, 4)}x4fs"
    ours = [Ours("ours"), Ours("ours flat", "flat"), Ours("ours sealed", sealed=True)]
    if quick:
        return ours + [Faiss("Flat", "ip"), Faiss(half, "ip", refine=True)]
    kinds = [Faiss("SQ8", "ip"), Faiss(quarter, "ip", refine=True), Faiss(half + "r", "ip", refine=True)]
    for metric in METRICS:
        kinds += [Faiss("Flat", metric), Faiss(half, metric, refine=True), Faiss("RaBitQfs", metric, refine=True, turned=True)]
    return ours + kinds + [Hnswlib(), Usearch()]
