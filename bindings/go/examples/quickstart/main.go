// Quickstart: Open, CreateIndex, Upsert, Query, Get, Delete, OpenIndex and the errors of this package.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"cyborg.invalid/cyborgdb"
)

func main() {
	folder, err := os.MkdirTemp("", "cyborg-quickstart-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := run(context.Background(), "file:"+filepath.Join(folder, "people.cyborg")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	db, err := cyborgdb.Open(url, nil)
	if err != nil {
		return err
	}
	defer db.Close()

	key := cyborgdb.GenerateKey() // keep it where you keep secrets: nothing gives it back
	index, err := db.CreateIndex("people", key, &cyborgdb.IndexOptions{Metric: cyborgdb.Cosine})
	if err != nil {
		return err
	}
	defer index.Close()

	items := cyborgdb.VectorItems{{
		Id:       "item_1",
		Vector:   []float32{0.1, 0.2, 0.3, 0.4},
		Contents: cyborgdb.NewNullableContents("Hello!"),
		Metadata: map[string]interface{}{"name": "Alice", "age": 30},
	}, {
		Id:       "item_2",
		Vector:   []float32{0.4, 0.3, 0.2, 0.1},
		Contents: cyborgdb.NewNullableContents([]byte{0xca, 0xfe}),
		Metadata: map[string]interface{}{"name": "Bob", "age": 41},
	}}
	if err := index.Upsert(ctx, items); err != nil {
		return err
	}

	matches, err := index.Query(ctx, []float32{0.1, 0.2, 0.3, 0.5}, &cyborgdb.QueryOptions{
		TopK:    2,
		Include: cyborgdb.IncludeMetadata | cyborgdb.IncludeContents,
	})
	if err != nil {
		return err
	}
	for _, m := range matches {
		fmt.Printf("%s at %.3f: %v, age %v, contents %q\n", m.Id, m.Distance, m.Metadata["name"], m.Metadata["age"], m.Contents)
	}

	found, err := index.Get(ctx, []string{"item_2", "item_9"}, cyborgdb.IncludeContents)
	if err != nil {
		return err
	}
	fmt.Printf("got %d: %s holds text: %v, bytes: %x\n", len(found), found[0].Id, found[0].Contents.IsText(), found[0].Contents.Bytes())

	deleted, err := index.Delete(ctx, []string{"item_1", "item_9"})
	if err != nil {
		return err
	}
	left, err := index.Count()
	if err != nil {
		return err
	}
	fmt.Printf("deleted %d, left %d\n", deleted, left)

	// Errors are values to look at, and a refused call has changed nothing.
	if _, err := db.OpenIndex("people", cyborgdb.GenerateKey()); errors.Is(err, cyborgdb.ErrWrongKey) {
		fmt.Println("another key: refused")
	}
	err = index.Upsert(ctx, cyborgdb.VectorItems{{Id: "item_3", Vector: []float32{1, 2}}})
	var e *cyborgdb.Error
	if errors.As(err, &e) && errors.Is(err, cyborgdb.ErrDimensionMismatch) {
		fmt.Printf("%v: needed %d, got %d\n", e.Status, e.Needed, e.Got)
	}
	return nil
}
