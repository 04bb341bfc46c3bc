package cyborgdb_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"cyborg.invalid/cyborgdb"
)

// large gives an index whose training takes long enough to be stopped.
func large(t testing.TB) *cyborgdb.Index {
	t.Helper()
	index := memory(t, &cyborgdb.IndexOptions{AutoTrainDisabled: true, Seed: 1})
	fill(t, index, cloud(30000, 48, 1))
	return index
}

func TestTrainingInTheBackground(t *testing.T) {
	db := open(t, "memory:", nil)
	index := create(t, db, &cyborgdb.IndexOptions{AutoTrainDisabled: true, Seed: 1})
	block := cloud(20000, 32, 1)
	fill(t, index, block)
	trained, err := index.IsTrained()
	ok(t, err)
	equal(t, "trained", trained, false)

	job, err := index.Train(ctx, &cyborgdb.TrainOptions{NLists: 400})
	ok(t, err)
	defer job.Close()
	training, err := index.IsTraining()
	ok(t, err)
	names, err := db.TrainingStatus()
	ok(t, err)
	p, err := job.Poll()
	ok(t, err)
	if !p.State.Ended() { // it may have ended on a fast machine
		equal(t, "training", training, true)
		equal(t, "names", slices.Equal(names, []string{"words"}), true)
		_, err = index.Train(ctx, nil)
		is(t, err, cyborgdb.ErrTrainingInProgress)
		is(t, index.TrainBlocking(ctx, nil), cyborgdb.ErrTrainingInProgress)
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := job.Wait(short); err != nil { // the wait ends, the job goes on
		is(t, err, cyborgdb.ErrTimeout)
		equal(t, "deadline", errors.Is(err, context.DeadlineExceeded), true)
	}
	ok(t, job.Wait(ctx))
	ok(t, job.Cancel()) // ended: stays as it is
	p, err = job.Poll()
	ok(t, err)
	equal(t, "state", p.State, cyborgdb.TrainingTrained)
	info, err := index.Describe()
	ok(t, err)
	equal(t, "trained", info.Trained, true)
	equal(t, "lists", info.NLists, 400)
	equal(t, "generation", info.Generation, 1)

	hits := 0
	for i := range 100 {
		matches, err := index.Query(ctx, block.Vectors[i*32:i*32+32], &cyborgdb.QueryOptions{TopK: 1})
		ok(t, err)
		if matches[0].Id == block.Ids[i] {
			hits++
		}
	}
	if hits < 95 {
		t.Errorf("%d of 100 items find themselves", hits)
	}
	ok(t, index.Compact(ctx))
	ok(t, index.Verify(ctx))
}

func TestACancelledJobLeavesTheIndexAsItWas(t *testing.T) {
	index := large(t)
	job, err := index.Train(ctx, &cyborgdb.TrainOptions{NLists: 5000})
	ok(t, err)
	defer job.Close()
	ok(t, job.Cancel())
	start := time.Now()
	is(t, job.Wait(ctx), cyborgdb.ErrCancelled)
	t.Logf("cancelled in %v", time.Since(start))
	p, err := job.Poll()
	ok(t, err)
	equal(t, "state", p.State, cyborgdb.TrainingCancelled)
	trained, err := index.IsTrained()
	ok(t, err)
	equal(t, "trained", trained, false)
}

func TestAContextStopsTraining(t *testing.T) {
	index := large(t)
	during, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	start := time.Now()
	err := index.TrainBlocking(during, &cyborgdb.TrainOptions{NLists: 10000})
	is(t, err, cyborgdb.ErrCancelled)
	equal(t, "canceled", errors.Is(err, context.Canceled), true)
	t.Logf("cancelled in %v", time.Since(start)-50*time.Millisecond)

	late, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err = index.TrainBlocking(late, &cyborgdb.TrainOptions{NLists: 10000})
	is(t, err, cyborgdb.ErrTimeout)
	equal(t, "deadline", errors.Is(err, context.DeadlineExceeded), true)
	info, err := index.Describe()
	ok(t, err)
	equal(t, "trained", info.Trained, false)
}

func TestProgressIsReported(t *testing.T) {
	index := large(t)
	var seen []cyborgdb.TrainingPhase
	ok(t, index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 1000, Progress: func(p cyborgdb.TrainingProgress) {
		if len(seen) == 0 || seen[len(seen)-1] != p.Phase {
			seen = append(seen, p.Phase)
		}
		if _, err := index.Count(); err != nil { // may call the library
			t.Error(err)
		}
	}}))
	if len(seen) == 0 || !slices.IsSorted(seen) {
		t.Error(seen)
	}
	t.Log(seen)
}

// A panic of the user's function stops training, passes the library, and comes out where it belongs.
func TestAPanicInProgressComesOut(t *testing.T) {
	index := large(t)
	func() {
		defer func() { equal(t, "panic", recover(), any("mine")) }()
		_ = index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 10000, Progress: func(cyborgdb.TrainingProgress) {
			panic("mine")
		}})
		t.Error("no panic")
	}()
	info, err := index.Describe()
	ok(t, err)
	equal(t, "trained", info.Trained, false)
}

func TestTrainingTellsWhatItLacks(t *testing.T) {
	index := large(t)
	e := is(t, index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 20000}), cyborgdb.ErrInsufficientVectors)
	equal(t, "needed", e.Needed, 40000)
	equal(t, "got", e.Got, 30000)
	e = is(t, index.TrainBlocking(ctx, &cyborgdb.TrainOptions{NLists: 1000, MaxMemoryMB: 1}), cyborgdb.ErrNoMemory)
	if e.Needed <= e.Got {
		t.Errorf("needed %d, got %d", e.Needed, e.Got)
	}
}

func TestAnUpsertStartsTraining(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{RetrainThreshold: 1000})
	block := cloud(1001, 8, 1)
	result, err := index.UpsertBinary(ctx, block)
	ok(t, err)
	equal(t, "triggered", result.TrainingTriggered, true)
	equal(t, "threshold", result.Threshold, 1000)
	job, err := index.LastTraining()
	ok(t, err)
	ok(t, job.Wait(ctx))
	ok(t, job.Close())
	trained, err := index.IsTrained()
	ok(t, err)
	equal(t, "trained", trained, true)
}

// Why an automatic training failed is told by its job.
func TestAnAutomaticTrainingThatIsRefusedCanBeAsked(t *testing.T) {
	db := open(t, "memory:", &cyborgdb.Options{MemoryLimit: 2 << 20})
	index := create(t, db, &cyborgdb.IndexOptions{RetrainThreshold: 500})
	_, err := index.LastTraining()
	is(t, err, cyborgdb.ErrNotFound)
	r, err := index.UpsertBinary(ctx, cloud(501, 8, 1))
	ok(t, err)
	equal(t, "triggered", r.TrainingTriggered, false)
	job, err := index.LastTraining()
	ok(t, err)
	is(t, job.Wait(ctx), cyborgdb.ErrNoMemory)
	ok(t, job.Close())
}

// Closing while a job runs, and forgetting the job, are both allowed.
func TestClosingEndsTraining(t *testing.T) {
	db := open(t, "memory:", nil)
	index := create(t, db, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
	fill(t, index, cloud(20000, 32, 1))
	job, err := index.Train(ctx, &cyborgdb.TrainOptions{NLists: 5000})
	ok(t, err)
	ok(t, db.Close())
	if err := job.Wait(ctx); !errors.Is(err, cyborgdb.ErrClosed) && !errors.Is(err, cyborgdb.ErrCancelled) {
		t.Error(err)
	}
	ok(t, job.Close())
}

// Jobs wait in the order they were started; what is cancelled leaves the queue.
func TestTrainingJobsAreListedInOrder(t *testing.T) {
	db := open(t, "memory:", nil)
	names := []string{"b", "c", "a"}
	// All are filled before any is trained: filling one took as long as the training of another, which had then ended.
	var indexes []*cyborgdb.Index
	for _, name := range names {
		index, err := db.CreateIndex(name, key, &cyborgdb.IndexOptions{AutoTrainDisabled: true})
		ok(t, err)
		defer index.Close()
		fill(t, index, cloud(20000, 32, 1))
		indexes = append(indexes, index)
	}
	var jobs []*cyborgdb.Training
	for _, index := range indexes {
		job, err := index.Train(ctx, &cyborgdb.TrainOptions{NLists: 900, MaxIters: 1000000, Tolerance: 1e-300})
		ok(t, err)
		jobs = append(jobs, job)
	}
	listed, err := db.TrainingJobs()
	ok(t, err)
	equal(t, "jobs", len(listed), 3)
	for i, job := range listed {
		equal(t, "name", job.Name, names[i])
		equal(t, "kind", job.Kind, cyborgdb.TrainingIndex)
		equal(t, "ended", job.Progress.State.Ended(), false)
		if i > 0 {
			equal(t, "state", job.Progress.State, cyborgdb.TrainingQueued)
			equal(t, "place", job.Place, listed[0].Place+i)
		}
	}
	ok(t, jobs[1].Cancel())
	is(t, jobs[1].Wait(ctx), cyborgdb.ErrCancelled)
	listed, err = db.TrainingJobs()
	ok(t, err)
	equal(t, "jobs", len(listed), 2)
	for _, job := range jobs {
		ok(t, job.Cancel())
		is(t, job.Wait(ctx), cyborgdb.ErrCancelled)
		ok(t, job.Close())
	}
}

func TestABadOptionIsNamed(t *testing.T) {
	index := large(t)
	_, err := index.Train(ctx, &cyborgdb.TrainOptions{Tolerance: -1})
	is(t, err, cyborgdb.ErrInvalidArgument)
	var e *cyborgdb.Error
	errors.As(err, &e)
	equal(t, "field", e.Field, "tolerance")
	equal(t, "value", e.Value, "-1")
	equal(t, "allowed", e.Allowed != "", true)
}

func TestAnUpsertSaysThatItStartedTraining(t *testing.T) {
	index := memory(t, &cyborgdb.IndexOptions{RetrainThreshold: 500})
	r, err := index.UpsertBinary(ctx, cloud(500, 8, 1))
	ok(t, err)
	equal(t, "message", r.Message(), "")
	r, err = index.UpsertBinary(ctx, cloud(600, 8, 1))
	ok(t, err)
	equal(t, "triggered", r.TrainingTriggered, true)
	equal(t, "message", r.Message(), "Training started (vectors: 600, threshold: 500)")
}
