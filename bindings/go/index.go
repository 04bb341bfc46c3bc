package cyborgdb

import (
	"context"
	"runtime"
	"sync/atomic"
)

// IndexOptions say how an index is made.
type IndexOptions struct {
	// Dimension is the number of values of a vector, 1 to MaxDimension; 0 = taken from the first upsert.
	Dimension int
	// Metric says how far apart two vectors are; 0 = Euclidean.
	Metric Metric
	// Quantizer says how vectors are coded once trained; 0 = the library's choice.
	Quantizer Quantizer
	// SQBits is the size of a code of quantizer SQ, a dimension: 8, 4 or 2; 0 = 8. It must be 0 with another quantizer,
	// and so must each parameter below with another quantizer than its own.
	SQBits int
	// PQM is the number of parts of a vector that quantizer PQ codes, 1 to the dimension; 0 = half the dimension with
	// PQBits 4, a quarter with 8.
	PQM int
	// PQBits is the size of the code of a part, 4 or 8; 0 = 4.
	PQBits int
	// PQRotation: PQ learns a rotation that evens out its parts (OPQ).
	PQRotation bool
	// RaBitQBits is the size of a code of quantizer RaBitQ, a dimension: 1 to 8; 0 = 4.
	RaBitQBits int
	// VectorPrecision says how vectors are stored; 0 = Float32.
	VectorPrecision VectorPrecision
	// IDKind says what ids are; 0 = Strings.
	IDKind IDKind
	// AutoTrainDisabled: never start training from an upsert.
	AutoTrainDisabled bool
	// TargetRecall at 10 is what automatic probes aim at, above 0 and below 1; 0 = 0.95.
	TargetRecall float32
	// RetrainThreshold is the number of items that an untrained index, or a list on average, may hold before an upsert
	// starts training; 0 = 10000.
	RetrainThreshold uint64
	// Seed of sampling, clustering and quantizers: the same seed and items give the same lists and codes.
	Seed uint64
	// ModelID makes the index from this model: trained from birth. Dimension, Metric and Quantizer are the model's then
	// and must be 0 here; "" = no model.
	ModelID string
	// ModelKey is the model's key; nil = the index's.
	ModelKey []byte
}

// IndexInfo is the configuration and state of an index.
type IndexInfo struct {
	// ModelID is the model it was made from, "" for none; it may have been deleted since.
	ModelID string
	// Dimension of the vectors, 0 while not known.
	Dimension int
	// Metric of the index.
	Metric Metric
	// Quantizer of the present lists (Flat while untrained), its bits of a dimension (of a part for PQ; 32 or 16 for
	// Flat), and for PQ its parts and whether vectors are rotated.
	Quantizer         Quantizer
	QuantizerBits     int
	QuantizerM        int
	QuantizerRotation bool
	// Configured is the quantizer asked for; its zero value means that the library chooses at each training.
	Configured QuantizerConfig
	// VectorPrecision of stored vectors, and CodeBytes of the code of one vector in the present lists.
	VectorPrecision VectorPrecision
	CodeBytes       int
	// IDKind of the ids.
	IDKind IDKind
	// Trained, Training (queued or running), and whether an upsert may start it.
	Trained, Training, AutoTrain bool
	// NLists is the number of inverted lists, 1 when untrained; AutoProbes of them reach
	// TargetRecall for 10 results if every query looks into as many; unless told, queries look into more or fewer as they need.
	NLists, AutoProbes int
	// TargetRecall, RetrainThreshold and Seed as configured, or the default.
	TargetRecall     float32
	RetrainThreshold uint64
	Seed             uint64
	// Count of items, Generation (how often trained) and Sequence (number of the last commit).
	Count, Generation, Sequence uint64
	// RecallAt10 and RecallAt100 are up to 16 points of the recall curves, see RecallCurve, zero past the last;
	// RecallQueries is the number of held-out items they were measured with, 0 = not measured.
	RecallAt10, RecallAt100 [RecallPoints]RecallPoint
	RecallQueries           int
}

// QuantizerConfig is a quantizer with its parameters as configured; 0 in M = automatic.
type QuantizerConfig struct {
	Quantizer Quantizer
	Bits, M   int
	Rotation  bool
}

// RecallPoint says what share of the true nearest neighbours lies in so many lists.
type RecallPoint struct {
	Probes int
	Recall float32
}

// IndexStats are sizes and counters of an index.
type IndexStats struct {
	// Count of items; Tombstones are rows of replaced or deleted ones that no merge has dropped yet.
	Count, Tombstones uint64
	// Deltas are committed batches not merged yet, DeltaItems the items in them, Runs what was merged.
	Deltas, DeltaItems, Runs uint64
	// StoredBytes of live objects in the store, ResidentBytes of ids and directories in memory, CacheBytes in the cache.
	StoredBytes, ResidentBytes, CacheBytes uint64
	// CacheHits and CacheMisses since opening.
	CacheHits, CacheMisses uint64
	// LargestListPermille is the largest list by the mean, BalancePermille n_lists * sum(length^2) / count^2, both in
	// thousandths; 0 when untrained.
	LargestListPermille, BalancePermille uint64
	// Writes are the items written or deleted in the life of the index, CurveWrites what they were when the recall
	// curve, which chooses automatic probes, was measured, and CurveQueries with how many queries.
	Writes, CurveWrites, CurveQueries uint64
}

// Index is an open index: an encrypted collection of items under a key of its own.
type Index struct {
	handle indexHandle
	db     *DB // for its logger, which must not be collected first
	name   string
	ids    IDKind
	closed atomic.Bool
	leak   runtime.Cleanup
}

func newIndex(db *DB, name string, handle indexHandle) (*Index, error) {
	info, err := describe(handle)
	if err != nil {
		freeIndex(handle)
		return nil, db.settle(err)
	}
	ix := &Index{handle: handle, db: db, name: name, ids: info.IDKind}
	ix.leak = runtime.AddCleanup(ix, func(h indexHandle) { go freeIndex(h) }, handle)
	return ix, nil
}

// Close closes the index; it neither stops nor waits for training. Closing twice does nothing.
func (ix *Index) Close() error {
	if ix.closed.Swap(true) {
		return nil
	}
	ix.leak.Stop()
	freeIndex(ix.handle)
	return nil
}

// settle makes the error of a handle that Close freed meanwhile what it is.
func (ix *Index) settle(err error) error { return settle(err, &ix.closed, ix) }

// watched runs a call that a context may stop.
func (ix *Index) watched(ctx context.Context, op string, call func(w *watch) error) error {
	w, err := watchContext(ctx, op)
	if err != nil {
		return err
	}
	defer w.end()
	return stopped(ctx, ix.settle(call(&w)))
}

// Name of the index.
func (ix *Index) Name() string { return ix.name }

// Describe gives configuration and state.
func (ix *Index) Describe() (IndexInfo, error) {
	info, err := describe(ix.handle)
	return info, ix.settle(err)
}

// RecallCurve gives the curve that training measured: what share of the k nearest neighbours, 10 or 100, lies in the lists
// that a query with so many probes looks into. Both rise. Empty while untrained. What codes lose comes on top; rerank
// makes up for it.
func (ix *Index) RecallCurve(k int) ([]RecallPoint, error) {
	points, err := recallCurve(ix.handle, k)
	return points, ix.settle(err)
}

// Stats gives sizes and counters.
func (ix *Index) Stats() (IndexStats, error) {
	s, err := stats(ix.handle)
	return s, ix.settle(err)
}

// Count gives the number of items.
func (ix *Index) Count() (uint64, error) {
	n, err := count(ix.handle)
	return n, ix.settle(err)
}

// Compact folds all batches and runs into one, drops what was replaced or deleted, and gives the space back to the file
// system. Queries and upserts go on meanwhile. The library does most of this by itself.
func (ix *Index) Compact(ctx context.Context) error {
	return ix.watched(ctx, "compact", func(w *watch) error { return compact(ix.handle, w) })
}

// Verify reads and authenticates every stored object; the error names the first that is damaged.
func (ix *Index) Verify(ctx context.Context) error {
	return ix.watched(ctx, "verify", func(w *watch) error { return verify(ix.handle, w) })
}
