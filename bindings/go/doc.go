// Package cyborgdb is an encrypted vector index that runs inside your program.
//
// Open a store, create an index with a key of your own, put in vectors with their ids, metadata and contents, and search
// the nearest ones. All that leaves the process is encrypted and authenticated; there is no server.
//
//	db, err := cyborgdb.Open("file:words.cyborg", nil)
//	key := cyborgdb.GenerateKey() // 32 bytes that you keep
//	index, err := db.CreateIndex("words", key, &cyborgdb.IndexOptions{Metric: cyborgdb.Cosine})
//	items := cyborgdb.VectorItems{{
//		Id:       "item_1",
//		Vector:   []float32{0.1, 0.2, 0.3, 0.4},
//		Contents: cyborgdb.NewNullableContents("Hello!"),
//		Metadata: map[string]interface{}{"name": "Alice", "age": 30},
//	}}
//	err = index.Upsert(ctx, items)
//	matches, err := index.Query(ctx, []float32{0.1, 0.2, 0.3, 0.5}, &cyborgdb.QueryOptions{TopK: 10})
//
// # Rules
//
// Any method may be called from any goroutine at any time, also while another goroutine closes the object. Close may be
// called twice; after it every method gives [ErrClosed]. Objects may be closed in any order.
//
// An error of the library is an [*Error]: compare it with errors.Is to [ErrWrongKey], [ErrNotFound] and the others, or
// take its numbers with errors.As. After an error the index holds what it held before.
//
// A context that ends stops the call within about 10 ms of work; the error then matches context.Canceled or
// context.DeadlineExceeded too. Methods without a context return at once.
//
// A pointer to options may be nil, and a field that is zero means its default.
//
// A call crosses into C once however many items it carries. Vectors pass as they lie in memory where they are one
// block ([Index.Query], [Index.QueryInto], [Index.UpsertBinary]); results are Go memory and stay valid.
package cyborgdb
