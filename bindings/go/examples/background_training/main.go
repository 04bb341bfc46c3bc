// Background training: UpsertBinary, Train, Poll, Wait, Cancel and TrainBlocking with progress, while queries go on.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"os"

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
	index, err := db.CreateIndex("points", cyborgdb.GenerateKey(), &cyborgdb.IndexOptions{
		Dimension:         dimension,
		AutoTrainDisabled: true, // trained below, so that it can be watched
		Seed:              1,
	})
	if err != nil {
		return err
	}
	defer index.Close()

	// A large batch goes in columns: ids and one block of vectors, which is not copied.
	block := points(count)
	result, err := index.UpsertBinary(ctx, block)
	if err != nil {
		return err
	}
	fmt.Printf("%d items, training triggered: %v\n", result.VectorCount, result.TrainingTriggered)

	// In the background: the job runs on the library's threads, this goroutine goes on.
	job, err := index.Train(ctx, &cyborgdb.TrainOptions{NLists: 64})
	if err != nil {
		return err
	}
	defer job.Close()
	queries := 0
	for {
		progress, err := job.Poll()
		if err != nil {
			return err
		}
		if progress.State.Ended() {
			break
		}
		if _, err := index.Query(ctx, block.Vectors[:dimension], &cyborgdb.QueryOptions{TopK: 10}); err != nil {
			return err
		}
		queries++
	}
	if err := job.Wait(ctx); err != nil { // how it ended
		return err
	}
	info, err := index.Describe()
	if err != nil {
		return err
	}
	fmt.Printf("trained: %v, %d lists, queries answered meanwhile: %v\n", info.Trained, info.NLists, queries > 0)

	// Anew, waiting for it and watching; a context that ends would stop it.
	err = index.TrainBlocking(ctx, &cyborgdb.TrainOptions{
		NLists: 32,
		Progress: func(p cyborgdb.TrainingProgress) {
			fmt.Fprintf(os.Stderr, "%v %d of %d\n", p.Phase, p.Done, p.Total)
		},
	})
	if err != nil {
		return err
	}
	if info, err = index.Describe(); err != nil {
		return err
	}
	fmt.Printf("trained anew: generation %d, %d lists\n", info.Generation, info.NLists)

	// Too many lists for so few vectors: refused with the numbers, and the index stays as it was.
	err = index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: count})
	var e *cyborgdb.Error
	if errors.As(err, &e) && errors.Is(err, cyborgdb.ErrInsufficientVectors) {
		fmt.Printf("%v: needed %d, got %d\n", e.Status, e.Needed, e.Got)
	}

	// A job that is cancelled leaves the index as it was.
	if job, err = index.Train(ctx, &cyborgdb.TrainOptions{NLists: 1000}); err != nil {
		return err
	}
	defer job.Close()
	if err := job.Cancel(); err != nil {
		return err
	}
	fmt.Println("cancelled:", errors.Is(job.Wait(ctx), cyborgdb.ErrCancelled))
	if info, err = index.Describe(); err != nil {
		return err
	}
	fmt.Printf("still generation %d, %d lists\n", info.Generation, info.NLists)
	return nil
}

// points are clouds around a few centres.
func points(n int) *cyborgdb.Block {
	random := rand.New(rand.NewSource(7))
	block := &cyborgdb.Block{Dimension: dimension}
	for i := range n {
		centre := float64(i % 50)
		block.Ids = append(block.Ids, fmt.Sprintf("point-%d", i))
		for j := range dimension {
			block.Vectors = append(block.Vectors, float32(centre*float64(j%7)+random.NormFloat64()))
		}
	}
	return block
}
