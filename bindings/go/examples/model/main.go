// Reusable models: TrainModel, WaitModel, an index that is trained from birth, DeleteModel, ExportModel and ImportModel.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand"

	"cyborg.invalid/cyborgdb"
)

const (
	count     = 6000
	dimension = 32
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, err := cyborgdb.Open("memory:", nil)
	if err != nil {
		return err
	}
	defer db.Close()
	key, modelKey := cyborgdb.GenerateKey(), cyborgdb.GenerateKey()
	source, err := db.CreateIndex("source", key, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	if err != nil {
		return err
	}
	defer source.Close()
	if _, err := source.UpsertBinary(ctx, points(1)); err != nil {
		return err
	}

	// Returns at once, with a record that is on the disk; the job could be polled or cancelled.
	job, info, err := source.TrainModel(ctx, "clouds", modelKey, &cyborgdb.ModelOptions{
		NLists:      64,
		Quantizer:   cyborgdb.SQ,
		Description: "clouds around 50 centres",
	})
	if err != nil {
		return err
	}
	defer job.Close()
	fmt.Printf("model %s: %v\n", info.Id, info.State)
	if info, err = db.WaitModel(ctx, "clouds", modelKey); err != nil {
		return err
	}
	fmt.Printf("model %s: %v, %d lists of %d dimensions, %v\n", info.Id, info.State, info.NLists, info.Dimension, info.Quantizer)
	if info.State == cyborgdb.ModelFailed {
		return errors.New(info.Error)
	}

	// An index of it is trained before it has its first item. It keeps a copy under its own key.
	if err := use(ctx, db, key, modelKey); err != nil {
		return err
	}
	err = db.DeleteModel("clouds", modelKey, false)
	fmt.Println("in use:", errors.Is(err, cyborgdb.ErrConflict), err)

	// To another store: sealed under a key for the way, opened with it there, and sealed anew.
	packageKey := cyborgdb.GenerateKey()
	data, err := db.ExportModel("clouds", modelKey, packageKey)
	if err != nil {
		return err
	}
	elsewhere, err := cyborgdb.Open("memory:", nil)
	if err != nil {
		return err
	}
	defer elsewhere.Close()
	if _, err := elsewhere.ImportModel(data, packageKey, "", key); err != nil {
		return err
	}
	return use(ctx, elsewhere, key, key)
}

func use(ctx context.Context, db *cyborgdb.DB, key, modelKey []byte) error {
	index, err := db.CreateIndex("made", key, &cyborgdb.IndexOptions{ModelID: "clouds", ModelKey: modelKey})
	if err != nil {
		return err
	}
	defer index.Close()
	info, err := index.Describe()
	if err != nil {
		return err
	}
	block := points(2)
	if _, err := index.UpsertBinary(ctx, block); err != nil {
		return err
	}
	matches, err := index.Query(ctx, block.Vectors[:dimension], &cyborgdb.QueryOptions{TopK: 1})
	if err != nil {
		return err
	}
	fmt.Printf("from %s: trained %v, %d lists; nearest: %s\n", info.ModelID, info.Trained, info.NLists, matches[0].Id)
	return nil
}

// points are clouds around a few centres.
func points(seed int64) *cyborgdb.Block {
	random := rand.New(rand.NewSource(seed))
	block := &cyborgdb.Block{Dimension: dimension}
	for i := range count {
		centre := float64(i % 50)
		block.Ids = append(block.Ids, fmt.Sprintf("point-%d", i))
		for j := range dimension {
			block.Vectors = append(block.Vectors, float32(centre*float64(j%7)+random.NormFloat64()))
		}
	}
	return block
}
