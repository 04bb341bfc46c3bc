package cyborgdb

import (
	"context"
	"math"
)

// QueryOptions say how a query is answered.
type QueryOptions struct {
	// TopK is the most results of each query, 1 to MaxTopK; 0 = DefaultTopK.
	TopK int
	// NProbes is the number of lists to look into; 0 = as many as the index's TargetRecall needs.
	NProbes int
	// RerankMult is how many candidates are reranked by their full vectors, as a multiple of TopK. 0 = the quantizer's
	// default; of scalar codes (but under inner product) those are then left out that are so far behind the results that
	// few results are missed (at most 1 in 1000 where it was measured). RaBitQ always leaves out those whose bounds say that they are no results.
	RerankMult int
	// Include says what comes back beside ids. Query and QueryBatch always give distances.
	Include Include
	// Threads for several queries; 0 = all of the db's. A single query runs on the caller's thread.
	Threads int
	// Radius, unless nil: only items at most this far.
	Radius *float32
	// Stats, unless nil, receives the work of all queries of the call together. Not by QueryInto.
	Stats *QueryStats
}

// QueryStats is the work that queries took.
type QueryStats struct {
	// ListsProbed is the number of lists looked into, VectorsScanned of vectors scored by their codes, Reranked of those
	// scored again by their full vectors.
	ListsProbed, VectorsScanned, Reranked uint64
	// BytesOpened is the number of bytes decrypted.
	BytesOpened uint64
}

// Query finds the items nearest to a vector, nearest first. Fewer than TopK are no error.
func (ix *Index) Query(ctx context.Context, vector []float32, options *QueryOptions) ([]Match, error) {
	all, err := ix.query(ctx, vector, 1, len(vector), options)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// QueryBatch finds the items nearest to each of several vectors of dimension values, one after the other in queries.
func (ix *Index) QueryBatch(ctx context.Context, queries []float32, dimension int, options *QueryOptions) ([][]Match, error) {
	n, err := rows("query", queries, dimension)
	if err != nil {
		return nil, err
	}
	return ix.query(ctx, queries, n, dimension, options)
}

// QueryInto is QueryBatch for an index with ids of kind Numbers, and does not allocate results: those of query q are
// written from q * TopK of ids and distances (which may be nil), and their number to counts[q].
func (ix *Index) QueryInto(ctx context.Context, queries []float32, dimension int, options *QueryOptions, ids []uint64,
	distances []float32, counts []uint32) error {
	const op = "query into"
	n, err := rows(op, queries, dimension)
	if err != nil {
		return err
	}
	if options == nil {
		options = &QueryOptions{}
	}
	topK := options.TopK
	if topK == 0 {
		topK = DefaultTopK
	}
	if topK < 0 || topK > MaxTopK {
		return refused(op, -1, "TopK: %d, needed 1 to %d", topK, MaxTopK)
	}
	switch {
	case len(ids) < n*topK:
		return mismatch(op, StatusBufferTooSmall, -1, "length of ids", n*topK, len(ids))
	case distances != nil && len(distances) < n*topK:
		return mismatch(op, StatusBufferTooSmall, -1, "length of distances", n*topK, len(distances))
	case len(counts) < n:
		return mismatch(op, StatusBufferTooSmall, -1, "length of counts", n, len(counts))
	}
	return ix.watched(ctx, op, func(w *watch) error {
		return queryInto(ix.handle, queries, n, dimension, options, w, ids, distances, counts)
	})
}

// rows is the number of vectors in a block.
func rows(op string, block []float32, dimension int) (int, error) {
	if dimension < 1 || len(block)%dimension != 0 {
		return 0, refused(op, -1, "queries: %d values, needed a multiple of dimension %d", len(block), dimension)
	}
	return len(block) / dimension, nil
}

func (ix *Index) query(ctx context.Context, queries []float32, n, dimension int, options *QueryOptions) ([][]Match, error) {
	const op = "query"
	var o QueryOptions
	if options != nil {
		o = *options
	}
	o.Include |= IncludeDistance
	var c *columns
	err := ix.watched(ctx, op, func(w *watch) (err error) {
		c, err = query(op, ix.handle, queries, n, dimension, &o, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	matches := make([]Match, c.rows)
	for i := range matches {
		m := &matches[i]
		m.Id, m.Number = c.id(i)
		m.Distance = float32(math.NaN())
		if c.distances != nil {
			m.Distance = c.distances[i]
		}
		if err := c.fields(op, i, o.Include, &m.Vector, &m.Contents, &m.Metadata, &m.MetadataJSON); err != nil {
			return nil, err
		}
	}
	out := make([][]Match, n)
	for q := range out {
		out[q] = matches[c.starts[q]:c.starts[q+1]:c.starts[q+1]]
	}
	return out, nil
}
