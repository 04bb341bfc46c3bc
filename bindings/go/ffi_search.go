package cyborgdb

// Queries.

/*
#include "ffi.h"

// Readers of plain objects: they keep no pointer and never call back (a logger may be called by anything that works).
#cgo noescape cyborg_results_columns
#cgo nocallback cyborg_results_columns
#cgo noescape cyborg_results_stats
#cgo nocallback cyborg_results_stats
#cgo nocallback cyborg_results_free
*/
import "C"

func queryOptions(op string, o *QueryOptions) (C.cyborg_query_options, error) {
	c := C.cyborg_query_options{struct_size: C.sizeof_cyborg_query_options, include: C.cyborg_include(o.Include.bits())}
	for _, f := range []struct {
		field string
		value int
		to    *C.uint32_t
	}{
		{"TopK", o.TopK, &c.top_k}, {"NProbes", o.NProbes, &c.n_probes},
		{"RerankMult", o.RerankMult, &c.rerank_mult}, {"Threads", o.Threads, &c.threads},
	} {
		var err error
		if *f.to, err = u32(op, f.field, f.value); err != nil {
			return c, err
		}
	}
	if o.Radius != nil {
		c.has_radius, c.radius = 1, C.float(*o.Radius)
	}
	return c, nil
}

func query(op string, index indexHandle, q []float32, n, dimension int, o *QueryOptions, w *watch) (*columns, error) {
	options, err := queryOptions(op, o)
	if err != nil {
		return nil, err
	}
	width, err := u32(op, "dimension", dimension)
	if err != nil {
		return nil, err
	}
	var results *C.cyborg_results
	var e *C.cyborg_error
	status := C.go_query(index, floats(q), C.size_t(n), width, &options, w.token, w.deadline, &results, &e)
	if err := failure(op, status, e); err != nil {
		return nil, err
	}
	defer C.cyborg_results_free(results)
	if o.Stats != nil {
		if err := sumStats(op, results, n, o.Stats); err != nil {
			return nil, err
		}
	}
	c := C.cyborg_columns{struct_size: C.sizeof_cyborg_columns}
	if err := failure(op, C.cyborg_results_columns(results, &c, &e), e); err != nil {
		return nil, err
	}
	return readColumns(&c), nil
}

func sumStats(op string, results *C.cyborg_results, n int, out *QueryStats) error {
	*out = QueryStats{}
	for i := range n {
		s := C.cyborg_query_stats{struct_size: C.sizeof_cyborg_query_stats}
		var e *C.cyborg_error
		if err := failure(op, C.cyborg_results_stats(results, C.size_t(i), &s, &e), e); err != nil {
			return err
		}
		out.ListsProbed += uint64(s.lists_probed)
		out.VectorsScanned += uint64(s.vectors_scanned)
		out.BytesOpened += uint64(s.bytes_opened)
		out.Reranked += uint64(s.reranked)
	}
	return nil
}

func queryInto(index indexHandle, q []float32, n, dimension int, o *QueryOptions, w *watch, ids []uint64,
	distances []float32, counts []uint32) error {
	const op = "query into"
	options, err := queryOptions(op, o)
	if err != nil {
		return err
	}
	width, err := u32(op, "dimension", dimension)
	if err != nil {
		return err
	}
	var e *C.cyborg_error
	status := C.go_query_into(index, floats(q), C.size_t(n), width, &options, w.token, w.deadline, numbers64(ids),
		floats(distances), numbers32(counts), &e)
	return failure(op, status, e)
}
