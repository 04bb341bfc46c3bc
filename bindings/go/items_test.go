package cyborgdb_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"cyborg.invalid/cyborgdb"
)

// The program of the project's documents, word by word.
func TestTheDocumentedProgram(t *testing.T) {
	index := memory(t, nil)
	items := cyborgdb.VectorItems{{Id: "item_1", Vector: []float32{0.1, 0.2, 0.3, 0.4}, Contents: cyborgdb.NewNullableContents("Hello!"), Metadata: map[string]interface{}{"name": "Alice", "age": 30}}}
	err := index.Upsert(context.Background(), items)
	ok(t, err)

	matches, err := index.Query(ctx, []float32{0.1, 0.2, 0.3, 0.4}, &cyborgdb.QueryOptions{Include: cyborgdb.IncludeAll})
	ok(t, err)
	if len(matches) != 1 {
		t.Fatal(matches)
	}
	m := matches[0]
	equal(t, "id", m.Id, "item_1")
	equal(t, "distance", m.Distance, 0)
	equal(t, "contents", m.Contents.String(), "Hello!")
	equal(t, "kind", m.Contents.IsText(), true)
	equal(t, "name", m.Metadata["name"], any("Alice"))
	equal(t, "age", m.Metadata["age"], any(30.0))
	equal(t, "metadata", string(m.MetadataJSON), `{"age":30,"name":"Alice"}`)
	equal(t, "vector", slices.Equal(m.Vector, items[0].Vector), true)
}

func TestItemsComeBackAsTheyWereGiven(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{Dimension: 2})
	given := cyborgdb.VectorItems{
		{Id: "text", Vector: []float32{1, 2}, Contents: cyborgdb.NewNullableContents("größer <&>")},
		{Id: "bytes", Vector: []float32{3, 4}, Contents: cyborgdb.NewNullableContents([]byte{0, 0xff, 0})},
		{Id: "bare", Vector: []float32{5, 6}},
		{Id: "a\x00b", Vector: []float32{7, 8}, Metadata: map[string]any{"q": "<&>\u2028", "n": []any{nil, true}}},
		{Id: "raw", Vector: []float32{9, 1}, MetadataJSON: json.RawMessage("{ \"big\": 12345678901234567890,\n\"a\":1 }")},
		{Id: "empty", Vector: []float32{2, 1}, Metadata: map[string]any{}},
	}
	result, err := index.UpsertItems(ctx, given)
	ok(t, err)
	equal(t, "inserted", result.Inserted, 6)
	equal(t, "count", result.VectorCount, 6)

	asked := []string{"raw", "nobody", "bare", "bytes", "text", "a\x00b", "empty", "raw"}
	got, err := index.Get(ctx, asked, cyborgdb.IncludeAll&^cyborgdb.IncludeDistance)
	ok(t, err)
	var order []string
	byID := map[string]cyborgdb.VectorItem{}
	for _, item := range got {
		order = append(order, item.Id)
		byID[item.Id] = item
	}
	if want := []string{"raw", "bare", "bytes", "text", "a\x00b", "empty", "raw"}; !slices.Equal(order, want) {
		t.Fatalf("order %q", order)
	}
	for _, want := range given {
		item := byID[want.Id]
		if !slices.Equal(item.Vector, want.Vector) {
			t.Errorf("%q: vector %v", want.Id, item.Vector)
		}
		equal(t, want.Id+" set", item.Contents.IsSet(), want.Contents.IsSet())
		equal(t, want.Id+" text", item.Contents.IsText(), want.Contents.IsText())
		equal(t, want.Id+" contents", string(item.Contents.Bytes()), string(want.Contents.Bytes()))
	}
	equal(t, "raw", string(byID["raw"].MetadataJSON), "{ \"big\": 12345678901234567890,\n\"a\":1 }")
	equal(t, "unescaped", string(byID["a\x00b"].MetadataJSON), `{"n":[null,true],"q":"<&>\u2028"}`)
	equal(t, "empty object", string(byID["empty"].MetadataJSON), `{}`)
	if byID["empty"].Metadata == nil || byID["bare"].Metadata != nil || byID["bare"].MetadataJSON != nil {
		t.Error("no metadata and empty metadata are not the same")
	}

	got, err = index.Get(ctx, []string{"raw"}, cyborgdb.IncludeMetadataJSON)
	ok(t, err)
	if got[0].MetadataJSON == nil || got[0].Metadata != nil || got[0].Vector != nil || got[0].Contents.IsSet() {
		t.Errorf("not what was included: %+v", got[0])
	}
}

func TestAnUpsertReplacesTheWholeItem(t *testing.T) {
	index := memory(t, nil)
	ok(t, index.Upsert(ctx, cyborgdb.VectorItems{{Id: "a", Vector: []float32{1, 1},
		Contents: cyborgdb.NewNullableContents("old"), Metadata: map[string]any{"v": 1}}}))
	result, err := index.UpsertItems(ctx, cyborgdb.VectorItems{{Id: "b", Vector: []float32{0, 0}},
		{Id: "a", Vector: []float32{2, 2}}, {Id: "b", Vector: []float32{3, 3}}})
	ok(t, err)
	equal(t, "inserted", result.Inserted, 1)
	equal(t, "updated", result.Updated, 1)
	equal(t, "superseded", result.Superseded, 1)
	got, err := index.Get(ctx, []string{"a", "b"}, cyborgdb.IncludeAll)
	ok(t, err)
	if got[0].Contents.IsSet() || got[0].Metadata != nil || got[0].Vector[0] != 2 || got[1].Vector[0] != 3 {
		t.Errorf("%+v", got)
	}
}

func TestBlocksAndBase64AreTheSame(t *testing.T) {
	index := memory(t, nil)
	block := cloud(300, 6, 1)
	for i := range block.Ids {
		block.Metadata = append(block.Metadata, json.RawMessage(fmt.Sprintf(`{"i":%d}`, i)))
		block.Contents = append(block.Contents, cyborgdb.NewNullableContents(block.Ids[i]))
	}
	block.Metadata[5], block.Contents[6] = nil, cyborgdb.NullableContents{}
	fill(t, index, block)

	raw := make([]byte, 0, 4*len(block.Vectors))
	for _, v := range block.Vectors {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	other := *block
	other.Ids, other.Vectors = nil, nil
	for _, id := range block.Ids {
		other.Ids = append(other.Ids, "64-"+id)
	}
	result, err := index.UpsertBase64(ctx, &other, base64.StdEncoding.EncodeToString(raw))
	ok(t, err)
	equal(t, "count", result.VectorCount, 600)

	a, err := index.Get(ctx, block.Ids, cyborgdb.IncludeAll)
	ok(t, err)
	b, err := index.Get(ctx, other.Ids, cyborgdb.IncludeAll)
	ok(t, err)
	for i := range a {
		if !slices.Equal(a[i].Vector, b[i].Vector) || !slices.Equal(a[i].Vector, block.Vectors[i*6:i*6+6]) ||
			string(a[i].MetadataJSON) != string(b[i].MetadataJSON) || a[i].Contents.String() != b[i].Contents.String() {
			t.Fatalf("item %d: %+v, %+v", i, a[i], b[i])
		}
	}
	_, err = index.UpsertBase64(ctx, &other, "AAAA")
	e := is(t, err, cyborgdb.ErrBufferTooSmall)
	equal(t, "needed", e.Needed, 9600)
	_, err = index.UpsertBase64(ctx, &other, strings.Repeat("!", base64.StdEncoding.EncodedLen(len(raw))))
	is(t, err, cyborgdb.ErrInvalidArgument)
	_, err = index.UpsertBase64(ctx, block, "AAAA")
	is(t, err, cyborgdb.ErrInvalidArgument)
}

func TestIdsCanBeNumbers(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{IDKind: cyborgdb.Numbers, Dimension: 2})
	_, err := index.UpsertBinary(ctx, &cyborgdb.Block{Numbers: []uint64{5, math.MaxUint64, 0},
		Vectors: []float32{0, 0, 1, 0, 3, 0}, Dimension: 2})
	ok(t, err)
	ok(t, index.Upsert(ctx, cyborgdb.VectorItems{{Number: 9, Vector: []float32{9, 9}}}))

	found, err := index.ContainsNumbers(ctx, []uint64{0, 1, math.MaxUint64, 9})
	ok(t, err)
	if !slices.Equal(found, []bool{true, false, true, true}) {
		t.Error(found)
	}
	matches, err := index.Query(ctx, []float32{1.1, 0}, nil)
	ok(t, err)
	equal(t, "nearest", matches[0].Number, math.MaxUint64)
	equal(t, "no string", matches[0].Id, "")

	n, distances, counts := make([]uint64, 6), make([]float32, 6), make([]uint32, 2)
	ok(t, index.QueryInto(ctx, []float32{0, 0, 3, 0}, 2, &cyborgdb.QueryOptions{TopK: 3}, n, distances, counts))
	if !slices.Equal(n, []uint64{5, math.MaxUint64, 0, 0, math.MaxUint64, 5}) || !slices.Equal(counts, []uint32{3, 3}) ||
		!slices.Equal(distances, []float32{0, 1, 3, 0, 2, 3}) {
		t.Error(n, distances, counts)
	}
	ok(t, index.QueryInto(ctx, []float32{0, 0, 3, 0}, 2, &cyborgdb.QueryOptions{TopK: 3}, n, nil, counts))
	e := is(t, index.QueryInto(ctx, []float32{0, 0}, 2, nil, n, nil, counts), cyborgdb.ErrBufferTooSmall)
	equal(t, "needed", e.Needed, cyborgdb.DefaultTopK)
	equal(t, "got", e.Got, 6)
	three := &cyborgdb.QueryOptions{TopK: 3}
	is(t, index.QueryInto(ctx, []float32{0, 0}, 2, three, n, distances[:2], counts), cyborgdb.ErrBufferTooSmall)
	is(t, index.QueryInto(ctx, []float32{0, 0}, 2, three, n, nil, nil), cyborgdb.ErrBufferTooSmall)

	got, err := index.GetNumbers(ctx, []uint64{1, 0}, cyborgdb.IncludeVector)
	ok(t, err)
	if len(got) != 1 || got[0].Number != 0 || got[0].Vector[0] != 3 {
		t.Error(got)
	}
	deleted, err := index.DeleteNumbers(ctx, []uint64{0, 1})
	ok(t, err)
	equal(t, "deleted", deleted, 1)
	var all []uint64
	for id, err := range index.ListNumbers(ctx) {
		ok(t, err)
		all = append(all, id)
	}
	slices.Sort(all)
	if !slices.Equal(all, []uint64{5, 9, math.MaxUint64}) {
		t.Error(all)
	}

	// One kind an index.
	_, err = index.Get(ctx, []string{"a"}, 0)
	is(t, err, cyborgdb.ErrInvalidArgument)
	_, err = index.UpsertBinary(ctx, &cyborgdb.Block{Ids: []string{"a"}, Vectors: []float32{0, 0}, Dimension: 2})
	is(t, err, cyborgdb.ErrInvalidArgument)
	for _, err := range index.ListIDs(ctx) {
		is(t, err, cyborgdb.ErrInvalidArgument)
	}
}

func TestAWalkOverIdsIsStable(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	block := cloud(3500, 3, 1) // several pages
	fill(t, index, block)
	var got []string
	for id, err := range index.ListIDs(ctx) {
		ok(t, err)
		if len(got) == 10 {
			_, err := index.Delete(ctx, block.Ids[2000:3000])
			ok(t, err)
			fill(t, index, &cyborgdb.Block{Ids: []string{"new"}, Vectors: []float32{1, 2, 3}, Dimension: 3})
		}
		got = append(got, id)
	}
	want := slices.Clone(block.Ids)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d ids of %d", len(got), len(want))
	}
	n := 0
	for _, err := range index.ListIDs(ctx) { // leaving early frees the cursor
		ok(t, err)
		if n++; n == 5 {
			break
		}
	}
	count, err := index.Count()
	ok(t, err)
	equal(t, "count", count, 2501)
}

func TestNothingIsABatchToo(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{Dimension: 2})
	ok(t, index.Upsert(ctx, nil))
	_, err := index.UpsertBinary(ctx, &cyborgdb.Block{})
	ok(t, err)
	got, err := index.Get(ctx, nil, cyborgdb.IncludeAll)
	ok(t, err)
	found, err := index.Contains(ctx, nil)
	ok(t, err)
	n, err := index.Delete(ctx, nil)
	ok(t, err)
	matches, err := index.Query(ctx, []float32{1, 2}, nil)
	ok(t, err)
	equal(t, "all", len(got)+len(found)+int(n)+len(matches), 0)
	batch, err := index.QueryBatch(ctx, []float32{1, 2, 3, 4}, 2, nil)
	ok(t, err)
	equal(t, "queries", len(batch), 2)
	for range index.ListIDs(ctx) {
		t.Error("an id from nowhere")
	}
}

func TestQueriesFindTheNearest(t *testing.T) {
	for metric, distance := range map[cyborgdb.Metric]func(a, b []float32) float64{
		cyborgdb.Euclidean:        func(a, b []float32) float64 { return math.Sqrt(squared(a, b)) },
		cyborgdb.SquaredEuclidean: squared,
		cyborgdb.InnerProduct:     func(a, b []float32) float64 { return -dot(a, b) },
		cyborgdb.Cosine: func(a, b []float32) float64 {
			return 1 - dot(a, b)/math.Sqrt(dot(a, a)*dot(b, b))
		},
	} {
		t.Run(metric.String(), func(t *testing.T) {
			index := memory(t, &cyborgdb.IndexOptions{Metric: metric})
			block := cloud(500, 7, 3)
			fill(t, index, block)
			var stats cyborgdb.QueryStats
			all, err := index.QueryBatch(ctx, block.Vectors[:7*40], 7, &cyborgdb.QueryOptions{TopK: 5, Stats: &stats})
			ok(t, err)
			if stats.VectorsScanned < 40*500 {
				t.Errorf("%+v", stats)
			}
			for q, matches := range all {
				query := block.Vectors[q*7 : q*7+7]
				exact := make([]float64, 500)
				for i := range exact {
					exact[i] = distance(query, block.Vectors[i*7:i*7+7])
				}
				slices.Sort(exact)
				if len(matches) != 5 {
					t.Fatal(matches)
				}
				for rank, m := range matches {
					if diff := math.Abs(float64(m.Distance) - exact[rank]); diff > 2e-3*math.Max(1, math.Abs(exact[rank])) {
						t.Fatalf("query %d rank %d: %v, want %v", q, rank, m.Distance, exact[rank])
					}
				}
				one, err := index.Query(ctx, query, &cyborgdb.QueryOptions{TopK: 5})
				ok(t, err)
				if !slices.Equal(ids(one), ids(matches)) {
					t.Errorf("query %d: %v alone, %v in a batch", q, ids(one), ids(matches))
				}
			}
		})
	}
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func squared(a, b []float32) (sum float64) {
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return sum
}

func TestARadiusBoundsResults(t *testing.T) {
	index := memory(t, nil)
	fill(t, index, &cyborgdb.Block{Ids: []string{"0", "1", "2"}, Vectors: []float32{0, 0, 1, 0, 2, 0}, Dimension: 2})
	for radius, want := range map[float32]int{0: 1, 1: 2, 1.5: 2, 2: 3} {
		matches, err := index.Query(ctx, []float32{0, 0}, &cyborgdb.QueryOptions{Radius: &radius})
		ok(t, err)
		equal(t, fmt.Sprint("radius ", radius), len(matches), want)
	}
}

func TestResultsOutliveEverything(t *testing.T) {
	db, err := cyborgdb.Open("memory:", nil)
	ok(t, err)
	index, err := db.CreateIndex("i", key, nil)
	ok(t, err)
	ok(t, index.Upsert(ctx, cyborgdb.VectorItems{{Id: "a", Vector: []float32{1, 2}, Contents: cyborgdb.NewNullableContents([]byte("c"))}}))
	matches, err := index.Query(ctx, []float32{1, 2}, &cyborgdb.QueryOptions{Include: cyborgdb.IncludeAll})
	ok(t, err)
	ok(t, db.Close())
	ok(t, index.Close())
	matches[0].Contents.Bytes()[0] = 'x' // the caller's own
	equal(t, "all", fmt.Sprintf("%s %v %s", matches[0].Id, matches[0].Vector, matches[0].Contents), "a [1 2] x")
}
