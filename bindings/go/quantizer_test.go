package cyborgdb_test

import (
	"fmt"
	"testing"

	"cyborg.invalid/cyborgdb"
)

// Every quantizer trains, tells what it is, and finds what was put.
func TestQuantizers(t *testing.T) {
	const dimension, n = 20, 3000
	block := cloud(n, dimension, 1)
	for _, test := range []struct {
		options   cyborgdb.IndexOptions
		bits, m   int
		codeBytes int
	}{
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.Flat}, 32, 0, 80},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.Flat, VectorPrecision: cyborgdb.Float16}, 16, 0, 40},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.SQ}, 8, 0, 0},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.SQ, SQBits: 4, VectorPrecision: cyborgdb.Float16}, 4, 0, 0},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.SQ, SQBits: 2}, 2, 0, 0},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ}, 4, 10, 0},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ, PQBits: 8, PQM: 7, PQRotation: true}, 8, 7, 0},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.RaBitQ}, 4, 0, 0},
		{cyborgdb.IndexOptions{Quantizer: cyborgdb.RaBitQ, RaBitQBits: 1}, 1, 0, 0},
	} {
		o := test.options
		o.AutoTrainDisabled = true
		t.Run(fmt.Sprintf("%v-%d-%v", o.Quantizer, test.bits, o.VectorPrecision), func(t *testing.T) {
			index := memory(t, &o)
			fill(t, index, block)
			before, err := index.Describe()
			ok(t, err)
			equal(t, "quantizer while untrained", before.Quantizer, cyborgdb.Flat)
			equal(t, "points while untrained", before.RecallAt10[0], cyborgdb.RecallPoint{})
			ok(t, index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 30}))
			info, err := index.Describe()
			ok(t, err)
			equal(t, "quantizer", info.Quantizer, o.Quantizer)
			equal(t, "configured", info.Configured.Quantizer, o.Quantizer)
			equal(t, "bits", info.QuantizerBits, test.bits)
			equal(t, "parts", info.QuantizerM, test.m)
			equal(t, "parts as configured", info.Configured.M, o.PQM)
			equal(t, "rotation", info.QuantizerRotation, o.PQRotation)
			if test.codeBytes > 0 {
				equal(t, "bytes of a code", info.CodeBytes, test.codeBytes)
			} else if info.CodeBytes == 0 || info.CodeBytes > dimension+8 {
				t.Errorf("%d bytes of a code", info.CodeBytes)
			}
			hits := 0
			for i := range 100 {
				query := block.Vectors[i*dimension : (i+1)*dimension]
				matches, err := index.Query(ctx, query, &cyborgdb.QueryOptions{TopK: 1, NProbes: 30, RerankMult: 200})
				ok(t, err)
				if matches[0].Id == block.Ids[i] {
					hits++
				}
			}
			if hits < 95 {
				t.Errorf("%d of 100 found themselves", hits)
			}
		})
	}
}

func TestAutomaticQuantizerIsTold(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	fill(t, index, cloud(1000, 8, 1))
	ok(t, index.TrainBlocking(ctx, nil))
	info, err := index.Describe()
	ok(t, err)
	equal(t, "configured", info.Configured, cyborgdb.QuantizerConfig{})
	if info.Quantizer == 0 || info.QuantizerBits == 0 {
		t.Errorf("%v of %d bits", info.Quantizer, info.QuantizerBits)
	}
	equal(t, "precision", info.VectorPrecision, cyborgdb.Float32)
}

func TestRecallCurve(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	fill(t, index, cloud(4000, 16, 1))
	curve, err := index.RecallCurve(10)
	ok(t, err)
	equal(t, "points while untrained", len(curve), 0)
	ok(t, index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 100}))
	info, err := index.Describe()
	ok(t, err)
	for k, points := range map[int][cyborgdb.RecallPoints]cyborgdb.RecallPoint{10: info.RecallAt10, 100: info.RecallAt100} {
		curve, err := index.RecallCurve(k)
		ok(t, err)
		summary := points[:]
		for len(summary) > 0 && summary[len(summary)-1].Probes == 0 {
			summary = summary[:len(summary)-1]
		}
		if len(curve) < 2 || len(summary) < 2 {
			t.Fatalf("%d points, %d in short", len(curve), len(summary))
		}
		for i := range curve[1:] {
			if curve[i].Probes >= curve[i+1].Probes || curve[i].Recall > curve[i+1].Recall {
				t.Errorf("the curve falls at %v", curve[i])
			}
		}
		equal(t, "first", summary[0], curve[0])
		equal(t, "last", summary[len(summary)-1], curve[len(curve)-1])
	}
	if info.RecallQueries == 0 {
		t.Error("no queries were measured")
	}
	_, err = index.RecallCurve(11)
	is(t, err, cyborgdb.ErrInvalidArgument)
	_, err = index.RecallCurve(-1)
	is(t, err, cyborgdb.ErrInvalidArgument)
}

// Vectors are rounded when they are taken in, and what does not fit is refused by name.
func TestFloat16(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{VectorPrecision: cyborgdb.Float16})
	err := index.Upsert(ctx, cyborgdb.VectorItems{{Id: "a", Vector: []float32{0.1, 65504}}})
	ok(t, err)
	items, err := index.Get(ctx, []string{"a"}, cyborgdb.IncludeVector)
	ok(t, err)
	equal(t, "rounded", items[0].Vector[0], 0.0999755859375)
	equal(t, "exact", items[0].Vector[1], 65504)
	err = index.Upsert(ctx, cyborgdb.VectorItems{
		{Id: "b", Vector: []float32{1, 2}}, {Id: "c", Vector: []float32{1, 65505}},
	})
	equal(t, "item", is(t, err, cyborgdb.ErrInvalidArgument).Item, 1)
	n, err := index.Count()
	ok(t, err)
	equal(t, "items", n, 1)
}
