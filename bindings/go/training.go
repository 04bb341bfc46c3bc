package cyborgdb

import (
	"context"
	"math"
	"runtime"
	"runtime/cgo"
	"sync/atomic"
	"time"
)

// TrainOptions say how an index is trained.
type TrainOptions struct {
	// NLists is the number of lists to make, at most half the items and MaxLists; 0 = from the number of items.
	NLists int
	// BatchSize is the number of vectors read and processed at a time, and the size of mini-batches; 0 = 2048.
	BatchSize int
	// MaxIters is the most clustering passes; 0 = 100. Where there are mini-batches, 1 pass of them is made in any case.
	MaxIters int
	// Tolerance: stop when a pass lowers the mean squared distance by less than this fraction; 0 = 1e-6.
	Tolerance float64
	// MaxMemoryMB is the most memory in MiB that the job may take; 0 = half of the db's MemoryLimit. Where it does not hold
	// all vectors to learn from, the centroids are refined by mini-batches. What is counted: see cyborg.h.
	MaxMemoryMB uint64
	// MaxTrainingVectors is the most vectors to learn from, raised to 2 x NLists where it is less; 0 = as many as help.
	MaxTrainingVectors uint64
	// Seed of sampling and clustering; 0 = the index's.
	Seed uint64
	// Progress, unless nil, is called by TrainBlocking about every 50 ms, on the goroutine of the call.
	Progress func(TrainingProgress)
}

// TrainingState is where a job stands.
type TrainingState int32

// The states.
const (
	// TrainingQueued: waiting for a worker.
	TrainingQueued TrainingState = 1
	// TrainingRunning: at work.
	TrainingRunning TrainingState = 2
	// TrainingTrained: ended well; queries use the new lists.
	TrainingTrained TrainingState = 3
	// TrainingFailed: ended with an error; the index is as it was.
	TrainingFailed TrainingState = 4
	// TrainingCancelled: ended on request; the index is as it was.
	TrainingCancelled TrainingState = 5
)

var stateNames = map[TrainingState]string{
	TrainingQueued: "queued", TrainingRunning: "running", TrainingTrained: "trained", TrainingFailed: "failed",
	TrainingCancelled: "cancelled",
}

// String gives the name of a state: "running".
func (s TrainingState) String() string { return name(stateNames, s, "TrainingState") }

// Ended tells whether the job will change no more.
func (s TrainingState) Ended() bool { return s != TrainingQueued && s != TrainingRunning }

// TrainingPhase is what a job is doing.
type TrainingPhase int32

// The phases, in this order.
const (
	// PhaseQueued: waiting for a worker.
	PhaseQueued TrainingPhase = 1
	// PhaseSampling: reading the sample; units are vectors.
	PhaseSampling TrainingPhase = 2
	// PhaseClustering: units are those of the algorithm.
	PhaseClustering TrainingPhase = 3
	// PhaseQuantizer: fitting the quantizer.
	PhaseQuantizer TrainingPhase = 4
	// PhaseEncoding: assigning and encoding all items; units are items.
	PhaseEncoding TrainingPhase = 5
	// PhaseCalibrating: measuring recall against the number of probes.
	PhaseCalibrating TrainingPhase = 6
	// PhasePublishing: writing and publishing.
	PhasePublishing TrainingPhase = 7
)

var phaseNames = map[TrainingPhase]string{
	PhaseQueued: "queued", PhaseSampling: "sampling", PhaseClustering: "clustering", PhaseQuantizer: "quantizer",
	PhaseEncoding: "encoding", PhaseCalibrating: "calibrating", PhasePublishing: "publishing",
}

// String gives the name of a phase: "clustering".
func (p TrainingPhase) String() string { return name(phaseNames, p, "TrainingPhase") }

// TrainingEnd is why clustering ended.
type TrainingEnd int32

// The reasons.
const (
	// EndRunning: it has not.
	EndRunning TrainingEnd = 0
	// EndSchedule: every pass that was planned was made.
	EndSchedule TrainingEnd = 1
	// EndMaxIters: MaxIters passes were made, and they were fewer than planned.
	EndMaxIters TrainingEnd = 2
	// EndTolerance: a pass lowered the objective by less than Tolerance.
	EndTolerance TrainingEnd = 3
	// EndRecall: two passes in a row raised the recall of held-out vectors by less than 0.001.
	EndRecall TrainingEnd = 4
)

var endNames = map[TrainingEnd]string{
	EndRunning: "running", EndSchedule: "schedule", EndMaxIters: "max_iters", EndTolerance: "tolerance", EndRecall: "recall",
}

// String gives the name of a reason: "tolerance".
func (e TrainingEnd) String() string { return name(endNames, e, "TrainingEnd") }

// TrainingProgress is one reading of a job.
type TrainingProgress struct {
	// State and Phase of the job.
	State TrainingState
	Phase TrainingPhase
	// Iteration is the clustering pass, from 1; 0 before.
	Iteration int
	// Done and Total are units of this phase; Total is 0 while not known.
	Done, Total uint64
	// Objective is the mean squared distance to the centroid after the last pass; 0 before.
	Objective float64
	// Elapsed since the job was queued.
	Elapsed time.Duration
	// VectorsUsed is how many vectors the centroids are learned from; 0 before.
	VectorsUsed uint64
	// Recall of held-out vectors after the last pass within a fixed number of vectors scanned, for comparing passes; 0
	// where too few vectors are at hand to tell.
	Recall float64
	// End is why clustering ended.
	End TrainingEnd
}

// TrainingKind is what a job trains.
type TrainingKind int32

// The kinds.
const (
	// TrainingIndex: an index.
	TrainingIndex TrainingKind = 1
	// TrainingModel: a model.
	TrainingModel TrainingKind = 2
)

var kindNames = map[TrainingKind]string{TrainingIndex: "index", TrainingModel: "model"}

// String gives the name of a kind: "index".
func (k TrainingKind) String() string { return name(kindNames, k, "TrainingKind") }

// TrainingJob is a job in the training queue of a db.
type TrainingJob struct {
	// Name of the index that it trains, or id of the model.
	Name string
	Kind TrainingKind
	// Place in the queue: 0 = it runs, 1 = the next to run, and so on.
	Place int
	// Progress of the job; its State is TrainingQueued or TrainingRunning.
	Progress TrainingProgress
}

// Training is a training job. It goes on when it is closed, until its db is.
type Training struct {
	handle trainingHandle
	index  *Index
	closed atomic.Bool
	leak   runtime.Cleanup
}

// Train starts to train an index, or to train it anew, and returns at once. Upserts, deletes and queries go on
// meanwhile, and the new lists take over in one step at the end. The context bounds the start only; Training.Cancel
// stops the job.
func (ix *Index) Train(ctx context.Context, options *TrainOptions) (*Training, error) {
	if err := ended(ctx, "train"); err != nil {
		return nil, err
	}
	if options == nil {
		options = &TrainOptions{}
	}
	handle, err := startTraining(ix.handle, options)
	if err = ix.settle(err); err != nil {
		return nil, err
	}
	return newTraining(handle, ix), nil
}

// LastTraining gives the index's present or last job in this process, whoever started it: also one that an upsert started,
// and one that an upsert would have started and that was refused. NotFound while there has been none.
func (ix *Index) LastTraining() (*Training, error) {
	handle, err := lastTraining(ix.handle)
	if err = ix.settle(err); err != nil {
		return nil, err
	}
	return newTraining(handle, ix), nil
}

func newTraining(handle trainingHandle, ix *Index) *Training {
	t := &Training{handle: handle, index: ix}
	t.leak = runtime.AddCleanup(t, func(h trainingHandle) { go freeTraining(h) }, handle)
	return t
}

// TrainBlocking trains and returns when training has ended. A context that ends stops it; the index is then as it was.
func (ix *Index) TrainBlocking(ctx context.Context, options *TrainOptions) error {
	if options == nil {
		options = &TrainOptions{}
	}
	if options.Progress == nil {
		return ix.watched(ctx, "train", func(w *watch) error { return trainBlocking(ix.handle, options, w, 0) })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &reporter{report: options.Progress, cancel: cancel}
	handle := cgo.NewHandle(r)
	defer handle.Delete()
	err := ix.watched(ctx, "train", func(w *watch) error { return trainBlocking(ix.handle, options, w, uintptr(handle)) })
	if r.panicked != nil {
		panic(r.panicked)
	}
	return err
}

// IsTraining tells whether a job of the index is queued or running.
func (ix *Index) IsTraining() (bool, error) {
	yes, err := isTraining(ix.handle)
	return yes, ix.settle(err)
}

// IsTrained tells whether the index has been trained.
func (ix *Index) IsTrained() (bool, error) {
	yes, err := isTrained(ix.handle)
	return yes, ix.settle(err)
}

func (t *Training) settle(err error) error { return settle(err, &t.closed, t) }

// Poll reads state and progress without waiting.
func (t *Training) Poll() (TrainingProgress, error) {
	p, err := pollTraining(t.handle)
	return p, t.settle(err)
}

// waitSlice is how long a wait may take to see that its context has ended.
const waitSlice = 20 * time.Millisecond

// Wait waits until the job has ended and gives nil when the index is trained, otherwise the error that ended it. When
// the context ends first it gives the context's, and the job goes on.
func (t *Training) Wait(ctx context.Context) error {
	const op = "wait for training"
	slice := uint64(waitSlice.Milliseconds())
	if ctx.Done() == nil {
		slice = math.MaxUint64
	}
	for {
		if err := ended(ctx, op); err != nil {
			return err
		}
		state, err := waitTraining(t.handle, slice)
		if err = t.settle(err); err != nil {
			return err
		}
		if state.Ended() {
			return t.settle(trainingResult(t.handle))
		}
	}
}

// Cancel asks the job to stop: one that waits for its turn ends at once, one that runs within 100 ms; Wait tells when. A job that has ended stays as it is.
func (t *Training) Cancel() error { return t.settle(cancelTraining(t.handle)) }

// Close lets go of the job, and neither cancels it nor waits for it. Closing twice does nothing.
func (t *Training) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	t.leak.Stop()
	freeTraining(t.handle)
	return nil
}
