// The quantizers of IndexOptions side by side on real data: Describe().CodeBytes, recall and speed of each.
//
//	go run ./examples/compression ../../tests/data/words.bin
//
// Trains the same 19,000 English words (GloVe vectors) with one quantizer after another and asks each index for the words
// nearest to 1,000 others. Prints the bytes of a vector's code, the share of the 10 true neighbours found, and queries a
// second on one thread, all with the library's own settings otherwise.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"cyborg.invalid/cyborgdb"
	"cyborg.invalid/cyborgdb/examples/internal/words"
)

const (
	queries = 1000
	topK    = 10
	floor   = 0.85 // of recall, for every choice
)

var choices = []struct {
	name    string
	options cyborgdb.IndexOptions
}{
	{"the library's choice", cyborgdb.IndexOptions{}},
	{"full vectors", cyborgdb.IndexOptions{Quantizer: cyborgdb.Flat}},
	{"full vectors, f16", cyborgdb.IndexOptions{Quantizer: cyborgdb.Flat, VectorPrecision: cyborgdb.Float16}},
	{"scalar, 8 bits", cyborgdb.IndexOptions{Quantizer: cyborgdb.SQ, SQBits: 8}},
	{"scalar, 4 bits", cyborgdb.IndexOptions{Quantizer: cyborgdb.SQ, SQBits: 4}},
	{"scalar, 2 bits", cyborgdb.IndexOptions{Quantizer: cyborgdb.SQ, SQBits: 2}},
	{"product, 8 bits", cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ, PQBits: 8}},
	{"product, 4 bits", cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ, PQBits: 4}},
	{"product, rotated", cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ, PQBits: 4, PQRotation: true}},
	{"RaBitQ, 4 bits", cyborgdb.IndexOptions{Quantizer: cyborgdb.RaBitQ, RaBitQBits: 4}},
	{"RaBitQ, 1 bit", cyborgdb.IndexOptions{Quantizer: cyborgdb.RaBitQ, RaBitQBits: 1}},
}

func main() {
	path := "../../tests/data/words.bin"
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	if err := compareAll(context.Background(), path); err != nil {
		fmt.Fprintln(os.Stderr, "compression:", err)
		os.Exit(1)
	}
}

func compareAll(ctx context.Context, path string) error {
	w, err := words.Load(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	db, err := cyborgdb.Open("memory:", nil)
	if err != nil {
		return err
	}
	defer db.Close()
	fmt.Printf("%-22s %5s %8s %9s\n", "quantizer", "bytes", "recall", "queries/s")
	var truth []uint64
	for _, choice := range choices {
		if truth, err = compare(ctx, db, w, choice.name, choice.options, truth); err != nil {
			return fmt.Errorf("%s: %w", choice.name, err)
		}
	}
	return nil
}

// compare prints one line of the table. The first index, while it is untrained and therefore exact, also tells the truth.
func compare(ctx context.Context, db *cyborgdb.DB, w *words.Words, name string, options cyborgdb.IndexOptions,
	truth []uint64) ([]uint64, error) {
	options.Metric, options.IDKind, options.AutoTrainDisabled = cyborgdb.Cosine, cyborgdb.Numbers, true
	index, err := db.CreateIndex(name, cyborgdb.GenerateKey(), &options)
	if err != nil {
		return nil, err
	}
	defer index.Close()
	n := w.Count - queries
	numbers := make([]uint64, n)
	for i := range numbers {
		numbers[i] = uint64(i)
	}
	batch := cyborgdb.Block{Numbers: numbers, Vectors: w.Vectors[:n*w.Dimension], Dimension: w.Dimension}
	if _, err := index.UpsertBinary(ctx, &batch); err != nil {
		return nil, err
	}
	if truth == nil {
		if truth, _, err = ask(ctx, index, w); err != nil {
			return nil, err
		}
	}
	if err := index.TrainBlocking(ctx, nil); err != nil {
		return nil, err
	}
	info, err := index.Describe()
	if err != nil {
		return nil, err
	}
	if _, _, err := ask(ctx, index, w); err != nil { // fills the cache
		return nil, err
	}
	found, took, err := ask(ctx, index, w)
	if err != nil {
		return nil, err
	}
	share := recall(truth, found)
	fmt.Printf("%-22s %5d %8.3f %9.0f\n", name, info.CodeBytes, share, queries/took.Seconds())
	if share < floor {
		return nil, fmt.Errorf("recall %.3f is below %.2f", share, floor)
	}
	return truth, nil
}

// ask gives topK ids for each query, and the time it took.
func ask(ctx context.Context, index *cyborgdb.Index, w *words.Words) ([]uint64, time.Duration, error) {
	ids, counts := make([]uint64, queries*topK), make([]uint32, queries)
	options := cyborgdb.QueryOptions{TopK: topK, Threads: 1}
	start := time.Now()
	err := index.QueryInto(ctx, w.Vectors[(w.Count-queries)*w.Dimension:], w.Dimension, &options, ids, nil, counts)
	return ids, time.Since(start), err
}

// recall is the share of the true neighbours among those found.
func recall(truth, found []uint64) float64 {
	hits := 0
	for q := 0; q < len(truth); q += topK {
		near := map[uint64]bool{}
		for _, id := range truth[q : q+topK] {
			near[id] = true
		}
		for _, id := range found[q : q+topK] {
			if near[id] {
				hits++
			}
		}
	}
	return float64(hits) / float64(len(truth))
}
