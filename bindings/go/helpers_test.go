package cyborgdb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"path/filepath"
	"slices"
	"testing"

	"cyborg.invalid/cyborgdb"
)

var ctx = context.Background()

// key is the same in all tests: what is tested is never the key's randomness.
var key = slices.Repeat([]byte{7}, cyborgdb.KeyLen)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is fails unless err matches the sentinel, and gives the error's details.
func is(t testing.TB, err, sentinel error) *cyborgdb.Error {
	t.Helper()
	var e *cyborgdb.Error
	if !errors.Is(err, sentinel) || !errors.As(err, &e) {
		t.Fatalf("got %v, want %v", err, sentinel)
	}
	return e
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func open(t testing.TB, url string, options *cyborgdb.Options) *cyborgdb.DB {
	t.Helper()
	db, err := cyborgdb.Open(url, options)
	ok(t, err)
	t.Cleanup(func() { ok(t, db.Close()) })
	return db
}

func create(t testing.TB, db *cyborgdb.DB, options *cyborgdb.IndexOptions) *cyborgdb.Index {
	t.Helper()
	index, err := db.CreateIndex("words", key, options)
	ok(t, err)
	t.Cleanup(func() { ok(t, index.Close()) })
	return index
}

func memory(t testing.TB, options *cyborgdb.IndexOptions) *cyborgdb.Index {
	t.Helper()
	return create(t, open(t, "memory:", nil), options)
}

func fileURL(t testing.TB) string { return "file:" + filepath.Join(t.TempDir(), "store.cyborg") }

// cloud is n vectors around 20 centres, with ids item-0, item-1, ...
func cloud(n, dimension int, seed int64) *cyborgdb.Block {
	random := rand.New(rand.NewSource(seed))
	b := &cyborgdb.Block{Dimension: dimension}
	for i := range n {
		b.Ids = append(b.Ids, fmt.Sprintf("item-%d", i))
		for j := range dimension {
			b.Vectors = append(b.Vectors, float32(float64(i%20*(j%5))+random.NormFloat64()))
		}
	}
	return b
}

func fill(t testing.TB, index *cyborgdb.Index, block *cyborgdb.Block) {
	t.Helper()
	_, err := index.UpsertBinary(ctx, block)
	ok(t, err)
}

func ids(matches []cyborgdb.Match) []string {
	out := make([]string, len(matches))
	for i, m := range matches {
		out[i] = m.Id
	}
	return out
}
