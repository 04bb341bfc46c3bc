package cyborgdb_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cyborg.invalid/cyborgdb"
)

// Whatever is wrong with a batch is said, names its item, and changes nothing.
func TestABadBatchChangesNothing(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{Metric: cyborgdb.Cosine})
	good := cyborgdb.VectorItem{Id: "good", Vector: []float32{1, 2}}
	ok(t, index.Upsert(ctx, cyborgdb.VectorItems{good}))
	before, err := index.Describe()
	ok(t, err)
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for name, bad := range map[string]struct {
		item cyborgdb.VectorItem
		want error
	}{
		"short vector":     {cyborgdb.VectorItem{Id: "x", Vector: []float32{1}}, cyborgdb.ErrDimensionMismatch},
		"long vector":      {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, 2, 3}}, cyborgdb.ErrDimensionMismatch},
		"no vector":        {cyborgdb.VectorItem{Id: "x"}, cyborgdb.ErrDimensionMismatch},
		"NaN":              {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, nan}}, cyborgdb.ErrInvalidArgument},
		"infinite":         {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, inf}}, cyborgdb.ErrInvalidArgument},
		"zero vector":      {cyborgdb.VectorItem{Id: "x", Vector: []float32{0, 0}}, cyborgdb.ErrInvalidArgument},
		"empty id":         {cyborgdb.VectorItem{Vector: []float32{1, 2}}, cyborgdb.ErrInvalidArgument},
		"long id":          {cyborgdb.VectorItem{Id: strings.Repeat("x", 4097), Vector: []float32{1, 2}}, cyborgdb.ErrInvalidArgument},
		"metadata a list":  {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, 2}, MetadataJSON: json.RawMessage("[1]")}, cyborgdb.ErrInvalidArgument},
		"metadata damaged": {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, 2}, MetadataJSON: json.RawMessage(`{"a":`)}, cyborgdb.ErrInvalidArgument},
		"metadata no JSON": {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, 2}, Metadata: map[string]any{"f": func() {}}}, cyborgdb.ErrInvalidArgument},
		"metadata twice": {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, 2}, Metadata: map[string]any{},
			MetadataJSON: json.RawMessage("{}")}, cyborgdb.ErrInvalidArgument},
		"text not UTF-8": {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, 2}, Contents: cyborgdb.NewNullableContents("\xff")}, cyborgdb.ErrInvalidArgument},
		"long contents": {cyborgdb.VectorItem{Id: "x", Vector: []float32{1, 2},
			Contents: cyborgdb.NewNullableContents(make([]byte, cyborgdb.MaxContentsLen+1))}, cyborgdb.ErrInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			e := is(t, index.Upsert(ctx, cyborgdb.VectorItems{good, bad.item, good}), bad.want)
			equal(t, "item", e.Item, 1)
			equal(t, "category", e.Category, cyborgdb.CategoryInput)
			if strings.ContainsAny(e.Message, "\n") || !strings.HasPrefix(e.Error(), "cyborgdb: upsert: ") {
				t.Error(e)
			}
			t.Log(e)
			after, err := index.Describe()
			ok(t, err)
			equal(t, "state", after, before)
		})
	}
}

func TestBadArgumentsAreRefused(t *testing.T) {
	db := open(t, "memory:", nil)
	index := create(t, db, &cyborgdb.IndexOptions{Dimension: 2})
	fill(t, index, &cyborgdb.Block{Ids: []string{"a"}, Vectors: []float32{1, 2}, Dimension: 2})
	creating := func(name string, key []byte, o cyborgdb.IndexOptions) error {
		_, err := db.CreateIndex(name, key, &o)
		return err
	}
	querying := func(v []float32, o cyborgdb.QueryOptions) error {
		_, err := index.Query(ctx, v, &o)
		return err
	}
	block := func(b cyborgdb.Block) error {
		_, err := index.UpsertBinary(ctx, &b)
		return err
	}
	_, noURL := cyborgdb.Open("memory:\x00", nil)
	_, noThreads := cyborgdb.Open("memory:", &cyborgdb.Options{Threads: -1})
	_, noMode := cyborgdb.Open("memory:", &cyborgdb.Options{CacheMode: 9})
	_, ragged := index.QueryBatch(ctx, []float32{1, 2, 3}, 2, nil)
	_, noDimension := index.QueryBatch(ctx, nil, 0, nil)
	for name, test := range map[string]struct{ got, want error }{
		"url with NUL":      {noURL, cyborgdb.ErrInvalidArgument},
		"threads":           {noThreads, cyborgdb.ErrInvalidArgument},
		"cache mode":        {noMode, cyborgdb.ErrInvalidArgument},
		"empty name":        {creating("", key, cyborgdb.IndexOptions{}), cyborgdb.ErrInvalidArgument},
		"name with NUL":     {creating("a\x00b", key, cyborgdb.IndexOptions{}), cyborgdb.ErrInvalidArgument},
		"name not UTF-8":    {creating("\xff", key, cyborgdb.IndexOptions{}), cyborgdb.ErrInvalidArgument},
		"long name":         {creating(strings.Repeat("n", 256), key, cyborgdb.IndexOptions{}), cyborgdb.ErrInvalidArgument},
		"no key":            {creating("n", nil, cyborgdb.IndexOptions{}), nil},
		"short key":         {creating("n", key[:31], cyborgdb.IndexOptions{}), cyborgdb.ErrInvalidArgument},
		"negative":          {creating("n", key, cyborgdb.IndexOptions{Dimension: -1}), cyborgdb.ErrInvalidArgument},
		"large dimension":   {creating("n", key, cyborgdb.IndexOptions{Dimension: 65537}), cyborgdb.ErrInvalidArgument},
		"metric":            {creating("n", key, cyborgdb.IndexOptions{Metric: 9}), cyborgdb.ErrInvalidArgument},
		"quantizer":         {creating("n", key, cyborgdb.IndexOptions{Quantizer: 99}), cyborgdb.ErrUnsupported},
		"sq bits":           {creating("n", key, cyborgdb.IndexOptions{Quantizer: cyborgdb.SQ, SQBits: 3}), cyborgdb.ErrInvalidArgument},
		"bits of another":   {creating("n", key, cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ, SQBits: 4}), cyborgdb.ErrInvalidArgument},
		"pq parts":          {creating("n", key, cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ, Dimension: 4, PQM: 5}), cyborgdb.ErrInvalidArgument},
		"rabitq bits":       {creating("n", key, cyborgdb.IndexOptions{Quantizer: cyborgdb.RaBitQ, RaBitQBits: 9}), cyborgdb.ErrInvalidArgument},
		"rotation of auto":  {creating("n", key, cyborgdb.IndexOptions{PQRotation: true}), cyborgdb.ErrInvalidArgument},
		"negative bits":     {creating("n", key, cyborgdb.IndexOptions{Quantizer: cyborgdb.PQ, PQBits: -4}), cyborgdb.ErrInvalidArgument},
		"precision":         {creating("n", key, cyborgdb.IndexOptions{VectorPrecision: 3}), cyborgdb.ErrInvalidArgument},
		"recall":            {creating("n", key, cyborgdb.IndexOptions{TargetRecall: 1.5}), cyborgdb.ErrInvalidArgument},
		"name taken":        {creating("words", key, cyborgdb.IndexOptions{}), cyborgdb.ErrAlreadyExists},
		"query dimension":   {querying([]float32{1, 2, 3}, cyborgdb.QueryOptions{}), cyborgdb.ErrDimensionMismatch},
		"query NaN":         {querying([]float32{1, float32(math.NaN())}, cyborgdb.QueryOptions{}), cyborgdb.ErrInvalidArgument},
		"top k":             {querying([]float32{1, 2}, cyborgdb.QueryOptions{TopK: 10001}), cyborgdb.ErrInvalidArgument},
		"negative top k":    {querying([]float32{1, 2}, cyborgdb.QueryOptions{TopK: -1}), cyborgdb.ErrInvalidArgument},
		"include":           {querying([]float32{1, 2}, cyborgdb.QueryOptions{Include: 1 << 20}), cyborgdb.ErrInvalidArgument},
		"ragged batch":      {ragged, cyborgdb.ErrInvalidArgument},
		"no dimension":      {noDimension, cyborgdb.ErrInvalidArgument},
		"into strings":      {index.QueryInto(ctx, []float32{1, 2}, 2, &cyborgdb.QueryOptions{TopK: 1}, make([]uint64, 1), nil, make([]uint32, 1)), cyborgdb.ErrUnsupported},
		"too few vectors":   {block(cyborgdb.Block{Ids: []string{"a", "b"}, Vectors: []float32{1, 2}, Dimension: 2}), cyborgdb.ErrInvalidArgument},
		"overlong vectors":  {block(cyborgdb.Block{Ids: []string{"a"}, Vectors: []float32{1, 2, 3}, Dimension: 2}), cyborgdb.ErrInvalidArgument},
		"too few metadata":  {block(cyborgdb.Block{Ids: []string{"a"}, Vectors: []float32{1, 2}, Dimension: 2, Metadata: []json.RawMessage{}}), cyborgdb.ErrInvalidArgument},
		"too many contents": {block(cyborgdb.Block{Ids: []string{"a"}, Vectors: []float32{1, 2}, Dimension: 2, Contents: make([]cyborgdb.NullableContents, 2)}), cyborgdb.ErrInvalidArgument},
		"block numbers":     {block(cyborgdb.Block{Ids: []string{"a"}, Numbers: []uint64{1}, Vectors: []float32{1, 2}, Dimension: 2}), cyborgdb.ErrInvalidArgument},
		"lists":             {index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 5}), cyborgdb.ErrInsufficientVectors},
		"negative lists":    {index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: -5}), cyborgdb.ErrInvalidArgument},
		"tolerance":         {index.TrainBlocking(ctx, &cyborgdb.TrainOptions{Tolerance: math.NaN()}), cyborgdb.ErrInvalidArgument},
	} {
		if test.want == nil { // the library may call a missing key either
			if !errors.Is(test.got, cyborgdb.ErrNullArgument) && !errors.Is(test.got, cyborgdb.ErrInvalidArgument) {
				t.Errorf("%s: %v", name, test.got)
			}
		} else if !errors.Is(test.got, test.want) {
			t.Errorf("%s: got %v, want %v", name, test.got, test.want)
		}
	}
	count, err := index.Count()
	ok(t, err)
	equal(t, "count", count, 1)
}

func TestErrorsOfTheStore(t *testing.T) {
	url := fileURL(t)
	path := strings.TrimPrefix(url, "file:")
	_, err := cyborgdb.Open(url, &cyborgdb.Options{ReadOnly: true})
	is(t, err, cyborgdb.ErrNotFound)
	_, err = cyborgdb.Open(filepath.Join(path, "no", "folder"), nil)
	is(t, err, cyborgdb.ErrIO)
	_, err = cyborgdb.Open("s3://bucket", nil)
	is(t, err, cyborgdb.ErrInvalidArgument)

	db := open(t, url, nil)
	_, err = cyborgdb.Open(url, nil)
	e := is(t, err, cyborgdb.ErrBusy)
	equal(t, "category", e.Category, cyborgdb.CategoryTransient)
	index := create(t, db, nil)
	fill(t, index, cloud(200, 4, 1))
	_, err = db.OpenIndex("none", key)
	is(t, err, cyborgdb.ErrNotFound)
	_, err = db.OpenIndex("words", slices.Repeat([]byte{8}, 32))
	e = is(t, err, cyborgdb.ErrWrongKey)
	equal(t, "category", e.Category, cyborgdb.CategorySecurity)
	is(t, db.DropIndex("words", cyborgdb.GenerateKey()), cyborgdb.ErrWrongKey)
	is(t, db.DropIndex("none", key), cyborgdb.ErrNotFound)

	reader := open(t, url, &cyborgdb.Options{ReadOnly: true})
	seen, err := reader.OpenIndex("words", key)
	ok(t, err)
	is(t, seen.Upsert(ctx, cyborgdb.VectorItems{{Id: "a", Vector: []float32{1, 2, 3, 4}}}), cyborgdb.ErrReadOnly)
	matches, err := seen.Query(ctx, []float32{1, 2, 3, 4}, &cyborgdb.QueryOptions{TopK: 3})
	ok(t, err)
	equal(t, "matches", len(matches), 3)
	names, err := reader.ListIndexes()
	ok(t, err)
	equal(t, "names", strings.Join(names, ","), "words")
	ok(t, seen.Close())
	ok(t, reader.Close())
	ok(t, index.Verify(ctx))
	ok(t, index.Close())
	ok(t, db.Close())

	// Every byte of the file that changes is found out: here each 997th.
	good, err := os.ReadFile(path)
	ok(t, err)
	refused := 0
	for at := 4096; at < len(good); at += 997 {
		bad := slices.Clone(good)
		bad[at] ^= 0x10
		ok(t, os.WriteFile(path, bad, 0o600))
		if err := verifyAll(url); err != nil {
			refused++
			if errors.Is(err, cyborgdb.ErrWrongKey) || errors.Is(err, cyborgdb.ErrInternal) {
				t.Errorf("byte %d: %v", at, err)
			}
		}
	}
	if refused == 0 {
		t.Error("no change of the file was found out")
	}
	ok(t, os.WriteFile(path, good, 0o600))
	ok(t, verifyAll(url))
}

func verifyAll(url string) error {
	db, err := cyborgdb.Open(url, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	index, err := db.OpenIndex("words", key)
	if err != nil {
		return err
	}
	defer index.Close()
	return index.Verify(ctx)
}

func TestUseAfterClose(t *testing.T) {
	db := open(t, "memory:", nil)
	index := create(t, db, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	fill(t, index, cloud(500, 4, 1))
	job, err := index.Train(ctx, &cyborgdb.TrainOptions{NLists: 8})
	ok(t, err)
	ok(t, job.Wait(ctx))
	second, err := db.OpenIndex("words", key)
	ok(t, err)

	onIndex := func(index *cyborgdb.Index) {
		t.Helper()
		for name, call := range map[string]func() error{
			"upsert":  func() error { return index.Upsert(ctx, cyborgdb.VectorItems{{Id: "a", Vector: []float32{1, 2, 3, 4}}}) },
			"nothing": func() error { return index.Upsert(ctx, nil) },
			"query":   func() error { _, err := index.Query(ctx, []float32{1, 2, 3, 4}, nil); return err },
			"get":     func() error { _, err := index.Get(ctx, []string{"item-1"}, 0); return err },
			"contains": func() error {
				_, err := index.Contains(ctx, []string{"item-1"})
				return err
			},
			"delete": func() error { _, err := index.Delete(ctx, []string{"item-1"}); return err },
			"list": func() (last error) {
				for _, err := range index.ListIDs(ctx) {
					last = err
				}
				return
			},
			"count":       func() error { _, err := index.Count(); return err },
			"describe":    func() error { _, err := index.Describe(); return err },
			"stats":       func() error { _, err := index.Stats(); return err },
			"train":       func() error { _, err := index.Train(ctx, nil); return err },
			"wait":        func() error { return index.TrainBlocking(ctx, nil) },
			"is training": func() error { _, err := index.IsTraining(); return err },
			"is trained":  func() error { _, err := index.IsTrained(); return err },
			"compact":     func() error { return index.Compact(ctx) },
			"verify":      func() error { return index.Verify(ctx) },
		} {
			if err := call(); !errors.Is(err, cyborgdb.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	ok(t, index.Close())
	ok(t, index.Close())
	onIndex(index)
	if _, err := second.Count(); err != nil { // a handle of its own
		t.Error(err)
	}
	ok(t, job.Close())
	ok(t, job.Close())
	_, err = job.Poll()
	is(t, err, cyborgdb.ErrClosed)
	is(t, job.Wait(ctx), cyborgdb.ErrClosed)
	is(t, job.Cancel(), cyborgdb.ErrClosed)

	ok(t, db.Close())
	ok(t, db.Close())
	onIndex(second)
	_, err = db.ListIndexes()
	is(t, err, cyborgdb.ErrClosed)
	_, err = db.TrainingStatus()
	is(t, err, cyborgdb.ErrClosed)
	_, err = db.CreateIndex("x", key, nil)
	is(t, err, cyborgdb.ErrClosed)
	_, err = db.OpenIndex("words", key)
	is(t, err, cyborgdb.ErrClosed)
	is(t, db.DropIndex("words", key), cyborgdb.ErrClosed)
	ok(t, second.Close())
}

func TestADroppedIndexIsClosed(t *testing.T) {
	db := open(t, "memory:", nil)
	index := create(t, db, nil)
	fill(t, index, cloud(5, 2, 1))
	ok(t, db.DropIndex("words", key))
	_, err := index.Query(ctx, []float32{1, 2}, nil)
	is(t, err, cyborgdb.ErrClosed)
	names, err := db.ListIndexes()
	ok(t, err)
	equal(t, "names", len(names), 0)
	_, err = db.OpenIndex("words", key)
	is(t, err, cyborgdb.ErrNotFound)
}

func TestAnEndedContextStopsEveryCall(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	fill(t, index, cloud(100, 2, 1))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithTimeout(ctx, -time.Second)
	defer cancel()
	reason := errors.New("a reason")
	caused, cancelCause := context.WithCancelCause(ctx)
	cancelCause(reason)
	for _, end := range []struct {
		ctx            context.Context
		sentinel, wrap error
	}{
		{cancelled, cyborgdb.ErrCancelled, context.Canceled},
		{late, cyborgdb.ErrTimeout, context.DeadlineExceeded},
		{caused, cyborgdb.ErrCancelled, reason},
	} {
		_, query := index.Query(end.ctx, []float32{1, 2}, nil)
		_, get := index.Get(end.ctx, []string{"item-1"}, 0)
		_, has := index.Contains(end.ctx, []string{"item-1"})
		_, gone := index.Delete(end.ctx, []string{"item-1"})
		_, job := index.Train(end.ctx, nil)
		var list error
		for _, err := range index.ListIDs(end.ctx) {
			list = err
		}
		for i, err := range []error{
			index.Upsert(end.ctx, cyborgdb.VectorItems{{Id: "a", Vector: []float32{1, 2}}}), index.Upsert(end.ctx, nil),
			query, get, has, gone, job, list, index.TrainBlocking(end.ctx, nil), index.Compact(end.ctx),
			index.Verify(end.ctx),
		} {
			if !errors.Is(err, end.sentinel) || !errors.Is(err, end.wrap) {
				t.Errorf("call %d: got %v, want %v", i, err, end.sentinel)
			}
		}
	}
	count, err := index.Count()
	ok(t, err)
	equal(t, "count", count, 100)
}

func TestTheLoggerGetsRecords(t *testing.T) {
	records := &handler{}
	url := fileURL(t)
	db := open(t, url, &cyborgdb.Options{Logger: slog.New(records)})
	index := create(t, db, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	records.call = func() { _, records.err = index.Count() }
	fill(t, index, cloud(500, 4, 1))
	ok(t, index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 8}))
	ok(t, db.Close())
	records.mu.Lock()
	defer records.mu.Unlock()
	if len(records.got) == 0 {
		t.Fatal("training leaves a record")
	}
	for _, r := range records.got {
		t.Log(r.Level, r.Message)
		if strings.Contains(r.Message, "item-") {
			t.Errorf("an id in the log: %s", r.Message)
		}
	}
	is(t, records.err, cyborgdb.ErrConflict) // the library may not be called from a log callback
}

type handler struct {
	slog.Handler
	mu   sync.Mutex
	got  []slog.Record
	call func()
	err  error
}

func (h *handler) Enabled(context.Context, slog.Level) bool { return true }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, r)
	if h.call != nil {
		h.call()
	}
	panic("a handler's panic must not reach the library")
}
