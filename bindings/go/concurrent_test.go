package cyborgdb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cyborg.invalid/cyborgdb"
)

// Writers own a share of the ids each and know what they wrote; readers and training run beside them. At the end the
// index holds exactly what the writers know.
func TestEverythingAtOnce(t *testing.T) {
	url := fileURL(t)
	db := open(t, url, nil)
	index := create(t, db, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	fill(t, index, &cyborgdb.Block{Ids: []string{"anchor"}, Vectors: make([]float32, 8), Dimension: 8})
	limit := 2 * time.Second
	if testing.Short() {
		limit /= 4
	}
	during, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	over := func(err error) bool {
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, cyborgdb.ErrTrainingInProgress) &&
			!errors.Is(err, cyborgdb.ErrInsufficientVectors) {
			t.Error(err)
			return true
		}
		return during.Err() != nil
	}

	const writers = 3
	models := make([]map[string]float32, writers)
	var wait group
	for w := range writers {
		models[w] = map[string]float32{}
		wait.Go(func() {
			random := rand.New(rand.NewSource(int64(w)))
			for {
				var items cyborgdb.VectorItems
				for range 1 + random.Intn(50) {
					v := make([]float32, 8)
					v[0] = random.Float32()
					items = append(items, cyborgdb.VectorItem{Id: fmt.Sprintf("%d-%d", w, random.Intn(2000)), Vector: v,
						Contents: cyborgdb.NewNullableContents(fmt.Sprint(v[0]))})
				}
				if err := index.Upsert(ctx, items); over(err) {
					if err == nil {
						for _, item := range items {
							models[w][item.Id] = item.Vector[0]
						}
					}
					return
				}
				for _, item := range items {
					models[w][item.Id] = item.Vector[0]
				}
				if random.Intn(3) == 0 {
					gone := fmt.Sprintf("%d-%d", w, random.Intn(2000))
					n, err := index.Delete(ctx, []string{gone})
					if over(err) && err != nil {
						return
					}
					if _, was := models[w][gone]; (n == 1) != was {
						t.Errorf("deleted %d of %s, there: %v", n, gone, was)
					}
					delete(models[w], gone)
				}
			}
		})
	}
	wait.Go(func() {
		for {
			matches, err := index.Query(during, make([]float32, 8), &cyborgdb.QueryOptions{Include: cyborgdb.IncludeAll})
			if over(err) {
				return
			}
			for _, m := range matches {
				if m.Id != "anchor" && m.Contents.String() != fmt.Sprint(m.Vector[0]) {
					t.Errorf("%s: contents %v beside vector %v", m.Id, m.Contents, m.Vector[0])
				}
			}
		}
	})
	wait.Go(func() {
		for {
			for _, err := range index.ListIDs(during) {
				if over(err) {
					return
				}
			}
			if _, err := index.Stats(); over(err) {
				return
			}
		}
	})
	wait.Go(func() {
		for i := 0; ; i++ {
			job, err := index.Train(during, &cyborgdb.TrainOptions{NLists: 16})
			if over(err) {
				return
			}
			if err != nil {
				time.Sleep(time.Millisecond)
				continue
			}
			if i%3 == 0 {
				over(job.Cancel())
			}
			err = job.Wait(during)
			job.Close() // the job goes on
			if !errors.Is(err, cyborgdb.ErrCancelled) && over(err) {
				return
			}
		}
	})
	wait.Wait()

	check := func(index *cyborgdb.Index) {
		total := 1
		for _, model := range models {
			total += len(model)
			var names []string
			for id := range model {
				names = append(names, id)
			}
			items, err := index.Get(ctx, names, cyborgdb.IncludeVector)
			ok(t, err)
			equal(t, "items", len(items), len(names))
			for _, item := range items {
				if item.Vector[0] != model[item.Id] {
					t.Errorf("%s: %v, want %v", item.Id, item.Vector[0], model[item.Id])
				}
			}
		}
		n, err := index.Count()
		ok(t, err)
		equal(t, "count", n, uint64(total))
	}
	check(index)
	ok(t, index.Close())
	ok(t, db.Close())
	db = open(t, url, nil)
	index, err := db.OpenIndex("words", key)
	ok(t, err)
	check(index)
}

// group is sync.WaitGroup with the Go method that Go 1.25 gave it.
type group struct{ sync.WaitGroup }

func (g *group) Go(f func()) {
	g.Add(1)
	go func() {
		defer g.Done()
		f()
	}()
}

// Closing needs no order and no lock: calls under way finish, later ones give ErrClosed.
func TestCloseDuringCalls(t *testing.T) {
	for range 20 {
		db := open(t, "memory:", nil)
		index := create(t, db, nil)
		fill(t, index, cloud(200, 4, 1))
		var wait group
		for g := range 4 {
			wait.Go(func() {
				for {
					_, err := index.Query(ctx, []float32{1, 2, 3, 4}, nil)
					if err == nil && g%2 == 0 {
						err = index.Upsert(ctx, cyborgdb.VectorItems{{Id: "x", Vector: []float32{1, 2, 3, 4}}})
					}
					if err != nil {
						if !errors.Is(err, cyborgdb.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		time.Sleep(2 * time.Millisecond)
		for range 2 {
			for _, close := range []func() error{index.Close, db.Close} {
				wait.Go(func() {
					if err := close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wait.Wait()
	}
}

// What is forgotten is closed when it is collected: the file can be opened for writing again.
func TestForgottenObjectsAreClosed(t *testing.T) {
	url := fileURL(t)
	func() {
		db, err := cyborgdb.Open(url, nil)
		ok(t, err)
		index, err := db.CreateIndex("words", key, nil)
		ok(t, err)
		fill(t, index, cloud(10, 2, 1))
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		runtime.GC()
		db, err := cyborgdb.Open(url, nil)
		if err == nil {
			ok(t, db.Close())
			return
		}
		is(t, err, cyborgdb.ErrBusy)
		if time.Now().After(end) {
			t.Fatal("never closed")
		}
	}
}

// Calls of every kind leave nothing behind on the C side: resident memory stops growing.
func TestCallsLeakNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	round := func() {
		db, err := cyborgdb.Open("memory:", nil)
		ok(t, err)
		index, err := db.CreateIndex("words", key, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
		ok(t, err)
		block := cloud(500, 16, 1)
		fill(t, index, block)
		withDeadline, cancel := context.WithTimeout(ctx, time.Minute)
		for range 20 {
			_, err = index.Query(withDeadline, block.Vectors[:16], &cyborgdb.QueryOptions{Include: cyborgdb.IncludeAll})
			ok(t, err)
			_, err = index.Get(ctx, block.Ids, cyborgdb.IncludeAll)
			ok(t, err)
			_, err = index.Query(ctx, []float32{1}, nil)
			is(t, err, cyborgdb.ErrDimensionMismatch)
			for _, err := range index.ListIDs(ctx) {
				ok(t, err)
				break
			}
		}
		cancel()
		job, err := index.Train(ctx, &cyborgdb.TrainOptions{NLists: 4})
		ok(t, err)
		ok(t, job.Wait(ctx))
		ok(t, job.Close())
		ok(t, index.Close())
		ok(t, db.Close())
	}
	for range 15 {
		round()
	}
	before := resident(t)
	for range 60 {
		round()
	}
	runtime.GC()
	grown := resident(t) - before
	t.Logf("resident memory grew by %d KiB", grown>>10)
	if grown > 24<<20 { // 60 rounds that leaked one result each would grow by more
		t.Errorf("resident memory grew by %d bytes", grown)
	}
}

func resident(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("needs /proc")
	}
	pages, err := strconv.Atoi(strings.Fields(string(status))[1])
	ok(t, err)
	return pages * os.Getpagesize()
}
