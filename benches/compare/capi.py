"""The C ABI from Python, taken from include/cyborg.h itself: structs, constants and prototypes are read from the header, so
that this file cannot drift from it. Only what benches need is wrapped; arrays are passed without copying."""
import ctypes as c
import re
import time
from pathlib import Path

import numpy as np

HEADER = Path(__file__).resolve().parents[2] / "include" / "cyborg.h"
SCALARS = {"char": c.c_char, "int8_t": c.c_int8, "uint8_t": c.c_uint8, "int32_t": c.c_int32, "uint32_t": c.c_uint32,
           "int64_t": c.c_int64, "uint64_t": c.c_uint64, "size_t": c.c_size_t, "uintptr_t": c.c_size_t,
           "float": c.c_float, "double": c.c_double, "void": None}

PHASES = ["queued", "sampling", "clustering", "quantizer", "encoding", "calibrating", "publishing"]     # in their order


class CyborgError(Exception):
    def __init__(self, call, name, message):
        super().__init__(f"{call}: {name}: {message}")
        self.name = name


class Api:
    """`api.call("cyborg_index_count", ...)`, `api.struct("cyborg_batch", dimension=3)`, `api.CYBORG_METRIC_COSINE`."""

    def __init__(self, library, header=HEADER):
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", Path(header).read_text(), flags=re.S)
        for name, value in re.findall(r"^#define (CYBORG_\w+) \(?(-?\d+)[uUlL]*\)?\s*$", text, re.M):
            setattr(self, name, int(value))
        text = re.sub(r"^#([^\n\\]|\\\n|\\.)*", "", text, flags=re.M)
        self.types, self.structs, self.functions = dict(SCALARS), {}, {}
        for target, name in re.findall(r"typedef (\w+) (cyborg_\w+);", text):
            self.types[name] = self.types[target]
        for name in re.findall(r"typedef [^;{}]*\(\s*\*\s*(cyborg_\w+)\s*\)\s*\([^;]*\);", text):
            self.types[name] = c.c_void_p
        for name, body in re.findall(r"typedef struct (cyborg_\w+) \{(.*?)\} \1;", text, re.S):
            fields = [self.declared(d) for d in body.split(";") if d.strip()]
            self.structs[name] = type(name, (c.Structure,), {"_fields_": fields})
        self.lib = c.CDLL(str(library))
        bodies = re.sub(r"typedef [^;{}]*(\{[^}]*\})?[^;]*;", "", text)
        for head, name, parameters in re.findall(r"([\w* \n]+?)\b(cyborg_\w+)\s*\(([^;{}]*?)\)\s*;", bodies):
            f = getattr(self.lib, name)
            f.restype = self.ctype(head)
            listed = [p for p in parameters.split(",") if p.strip() != "void"]
            f.argtypes = [self.declared(p)[1] for p in listed]
            self.functions[name] = f

    def ctype(self, declared):
        if "*" in declared:
            return c.c_char_p if re.search(r"\bchar\b[^*]*\*\s*$", declared) else c.c_void_p
        words = [w for w in declared.split() if w in self.types]
        return self.types[words[-1]] if words else None

    def declared(self, text):
        before, name, length = re.match(r"\s*(.*?)(\w+)\s*(?:\[(\w+)\])?\s*$", text, re.S).groups()
        if length is None:
            return name, self.ctype(before)
        return name, self.ctype(before) * (int(length) if length.isdigit() else getattr(self, length))

    def struct(self, name, **fields):
        """A zeroed struct with its struct_size and the given fields; arrays become their addresses."""
        s = self.structs[name]()
        s.struct_size = c.sizeof(s)
        known = {field for field, _ in s._fields_}
        for field, value in fields.items():
            if field not in known:
                raise AttributeError(f"{name} has no field {field}")
            setattr(s, field, value.ctypes.data if isinstance(value, np.ndarray) else value)
        s.kept = fields     # arrays live as long as the struct
        return s

    def call(self, name, *args):
        """Calls a fallible function; the error argument is added here."""
        error = c.c_void_p()
        given = [c.addressof(a) if isinstance(a, (c.Structure, c.c_void_p)) else
                 a.ctypes.data if isinstance(a, np.ndarray) else a for a in args]
        status = self.functions[name](*given, c.addressof(error))
        if status != 0:
            message = self.functions["cyborg_error_message"](error).decode()
            self.functions["cyborg_error_free"](error)
            raise CyborgError(name, self.functions["cyborg_status_name"](status).decode(), message)

    def made(self, name, *args):
        """The object that a call makes: its last parameter but the error."""
        made = c.c_void_p()
        self.call(name, *args, made)
        return made.value

    def build_info(self):
        return self.functions["cyborg_build_info"]().decode()


class Db:
    def __init__(self, api, url, **options):
        self.api = api
        self.handle = api.made("cyborg_db_open", url.encode(), api.struct("cyborg_db_options", **options))

    def close(self):
        self.api.call("cyborg_db_close", self.handle)
        self.api.functions["cyborg_db_free"](self.handle)

    def create(self, name, key, **options):
        return Index(self, "cyborg_index_create", name, key, self.api.struct("cyborg_index_options", **options))

    def open(self, name, key):
        return Index(self, "cyborg_index_open", name, key, None)


class Index:
    """An index with number ids."""

    def __init__(self, db, verb, name, key, options):
        self.db, self.api = db, db.api
        self.handle = self.api.made(verb, db.handle, name.encode(), key, len(key), options)

    def free(self):
        self.api.functions["cyborg_index_free"](self.handle)

    def upsert(self, ids, vectors):
        batch = self.api.struct("cyborg_batch", count=len(ids), dimension=vectors.shape[1], vectors=vectors, id_numbers=ids)
        result = self.api.struct("cyborg_upsert_result")
        self.api.call("cyborg_index_upsert", self.handle, batch, None, result)
        return result

    def train(self, **options):
        """Trains in the background and waits; gives the seconds of each phase, to 2 ms, and of all as "job"."""
        api, seconds = self.api, dict.fromkeys(PHASES, 0.0)
        start = before = time.perf_counter()
        job = api.made("cyborg_index_train", self.handle, api.struct("cyborg_train_options", **options), None)
        reading = api.struct("cyborg_training_progress")
        names = {getattr(api, f"CYBORG_PHASE_{name.upper()}"): name for name in PHASES}
        while reading.state in (0, api.CYBORG_TRAINING_QUEUED, api.CYBORG_TRAINING_RUNNING):
            time.sleep(0.002)
            api.call("cyborg_training_poll", job, reading)
            now = time.perf_counter()
            if reading.phase in names:
                seconds[names[reading.phase]] += now - before
            before = now
        api.functions["cyborg_training_free"](job)
        if reading.state != api.CYBORG_TRAINING_TRAINED:
            raise CyborgError("cyborg_index_train", "training", f"ended in state {reading.state}")
        return dict(seconds, job=before - start)

    def query(self, queries, k, **options):
        """Ids (n x k, -1 where there are fewer)."""
        n = len(queries)
        ids, counts = np.full((n, k), -1, np.int64), np.zeros(n, np.uint32)
        wanted = self.api.struct("cyborg_query_options", top_k=k, **options)
        self.api.call("cyborg_index_query_into", self.handle, queries, n, queries.shape[1], wanted, None, ids, None, counts)
        return ids

    def caller(self, queries, k, **options):
        """A function that answers query i alone: one foreign call, nothing allocated."""
        wanted = self.api.struct("cyborg_query_options", top_k=k, **options)
        out = np.empty(k, np.int64), np.empty(k, np.float32), np.empty(1, np.uint32)
        addresses = [a.ctypes.data for a in out]
        f, handle, options_at = self.api.functions["cyborg_index_query_into"], self.handle, c.addressof(wanted)
        first, step, dim = queries.ctypes.data, queries.strides[0], queries.shape[1]

        def one(i, kept=(wanted, out, queries)):
            if f(handle, first + i * step, 1, dim, options_at, None, *addresses, None) != 0:
                raise CyborgError("cyborg_index_query_into", "failed", "")
        return one

    def work(self, queries, k, **options):
        """What one query does, on average: vectors scanned, lists probed, bytes opened, candidates reranked."""
        wanted, total = self.api.struct("cyborg_query_options", top_k=k, **options), np.zeros(4)
        results = self.api.made("cyborg_index_query", self.handle, queries, len(queries), queries.shape[1], wanted, None)
        for q in range(len(queries)):
            stats = self.api.struct("cyborg_query_stats")
            self.api.call("cyborg_results_stats", results, q, stats)
            total += stats.vectors_scanned, stats.lists_probed, stats.bytes_opened, stats.reranked
        self.api.functions["cyborg_results_free"](results)
        return dict(zip(("scanned", "probed", "opened", "reranked"), (total / len(queries)).tolist()))

    def describe(self):
        info = self.api.struct("cyborg_index_info")
        self.api.call("cyborg_index_describe", self.handle, info)
        return info

    def stats(self):
        stats = self.api.struct("cyborg_index_stats_info")
        self.api.call("cyborg_index_stats", self.handle, stats)
        return stats
