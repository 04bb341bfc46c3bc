package cyborgdb_test

import (
	"context"
	"testing"
	"time"

	"cyborg.invalid/cyborgdb"
)

// What the binding costs: the smallest call of each kind, on an index so small that the library has little to do.
func BenchmarkSmallCalls(b *testing.B) {
	index := memory(b, &cyborgdb.IndexOptions{AutoTrainDisabled: true, IDKind: cyborgdb.Numbers})
	_, err := index.UpsertBinary(ctx, &cyborgdb.Block{Numbers: []uint64{1, 2}, Vectors: make([]float32, 32), Dimension: 16})
	ok(b, err)
	withDeadline, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	q, one := make([]float32, 16), &cyborgdb.QueryOptions{TopK: 1}
	n, counts := make([]uint64, 1), make([]uint32, 1)
	for name, call := range map[string]func() error{
		"Count":                func() error { _, err := index.Count(); return err },
		"QueryInto":            func() error { return index.QueryInto(ctx, q, 16, one, n, nil, counts) },
		"QueryIntoWithContext": func() error { return index.QueryInto(withDeadline, q, 16, one, n, nil, counts) },
		"Query":                func() error { _, err := index.Query(ctx, q, one); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ok(b, call())
			}
		})
	}
}

// Batches of 10,000 x 100 into memory: as items, and as a block that is not copied.
func BenchmarkUpsert(b *testing.B) {
	const count, dimension = 10000, 100
	block := cloud(count, dimension, 1)
	items := make(cyborgdb.VectorItems, count)
	for i := range items {
		items[i] = cyborgdb.VectorItem{Id: block.Ids[i], Vector: block.Vectors[i*dimension : (i+1)*dimension]}
	}
	for name, upsert := range map[string]func(*cyborgdb.Index) error{
		"Items": func(index *cyborgdb.Index) error { return index.Upsert(ctx, items) },
		"Block": func(index *cyborgdb.Index) error { _, err := index.UpsertBinary(ctx, block); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				db, err := cyborgdb.Open("memory:", nil)
				ok(b, err)
				index, err := db.CreateIndex("words", key, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
				ok(b, err)
				b.StartTimer()
				ok(b, upsert(index))
				b.StopTimer()
				ok(b, db.Close())
				ok(b, index.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "vectors/s")
		})
	}
}
