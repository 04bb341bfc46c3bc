package cyborgdb

import (
	"context"
	"math"
	"time"
)

// ModelOptions say how a model is trained.
type ModelOptions struct {
	// NLists is the number of lists to make, at most half the source's items and MaxLists; 0 = from the number of items.
	NLists int
	// Quantizer says how the vectors of indexes made from the model are coded, with its parameters as in IndexOptions;
	// 0 = the library's choice.
	Quantizer  Quantizer
	SQBits     int
	PQM        int
	PQBits     int
	PQRotation bool
	RaBitQBits int
	// SearchSize is the number of rows of the source read at a time; 0 = 10000.
	SearchSize int
	// BatchSize is the number of vectors processed at a time; 0 = 2048.
	BatchSize int
	// MaxIters is the most clustering passes; 0 = 100. Where there are mini-batches, 1 pass of them is made in any case.
	MaxIters int
	// Tolerance: stop when a pass lowers the mean squared distance by less than this fraction; 0 = 1e-6.
	Tolerance float64
	// MaxMemoryMB is the most memory in MiB that the job may take; 0 = half of the db's MemoryLimit.
	MaxMemoryMB uint64
	// MaxTrainingVectors is the most vectors to learn from, raised to 2 x NLists where it is less; 0 = as many as help.
	MaxTrainingVectors uint64
	// Seed of sampling and clustering; 0 = the source's.
	Seed uint64
	// Description is anything of at most MaxModelDescription characters.
	Description string
}

// ModelState is where a model stands.
type ModelState int32

// The states.
const (
	// ModelTraining: its training is queued or at work.
	ModelTraining ModelState = 1
	// ModelCreated: trained; indexes can be made from it.
	ModelCreated ModelState = 2
	// ModelFailed: its training ended without a model; it can only be deleted.
	ModelFailed ModelState = 3
)

var modelStateNames = map[ModelState]string{ModelTraining: "training", ModelCreated: "created", ModelFailed: "failed"}

// String gives the name of a state: "created".
func (s ModelState) String() string { return name(modelStateNames, s, "ModelState") }

// ModelFailure says why a model failed; the zero value means that it did not.
type ModelFailure int32

// The failures.
const (
	// ModelInterrupted: the process ended, or the db was closed, before the training did.
	ModelInterrupted ModelFailure = 1
	// ModelCancelled: it was cancelled.
	ModelCancelled ModelFailure = 2
	// ModelOutOfMemory: memory was refused by the system or by a limit.
	ModelOutOfMemory ModelFailure = 3
	// ModelBadData: too few vectors were left, or the source was dropped or is damaged.
	ModelBadData ModelFailure = 4
	// ModelInternal: the store failed, or the library has a defect.
	ModelInternal ModelFailure = 5
)

var modelFailureNames = map[ModelFailure]string{
	0: "none", ModelInterrupted: "interrupted", ModelCancelled: "cancelled", ModelOutOfMemory: "memory",
	ModelBadData: "data", ModelInternal: "internal",
}

// String gives the name of a failure: "interrupted".
func (f ModelFailure) String() string { return name(modelFailureNames, f, "ModelFailure") }

// ModelInfo is one reading of a model's record.
type ModelInfo struct {
	// Id of the model; readable in the store.
	Id string
	// State, and why it failed: a code and one line of text.
	State   ModelState
	Failure ModelFailure
	Error   string
	// CreatedAt is when training was asked for, FinishedAt when it ended (zero while training).
	CreatedAt, FinishedAt time.Time
	// Description as given, and Source, the name of the index it was trained from.
	Description, Source string
	// Dimension, Metric and Quantizer of indexes made from it; QuantizerBits and PQM are the quantizer's parameters.
	Dimension     int
	Metric        Metric
	Quantizer     Quantizer
	QuantizerBits int
	PQM           int
	PQRotation    bool
	// NLists is the number of inverted lists.
	NLists int
	// Seed, VectorsUsed, Passes and Objective (mean squared distance to the centroids) of the training.
	Seed        uint64
	VectorsUsed uint64
	Passes      int
	Objective   float64
	// Bytes of the trained part, FormatVersion it was written in, LibraryVersion that trained it.
	Bytes          uint64
	FormatVersion  int
	LibraryVersion string
	// UsedBy is the number of indexes made from it that exist.
	UsedBy int
}

// TrainModel starts to train a model from the vectors of the index and returns at once; its record, which is returned,
// is durable then. id "" means a random one. key seals the model and need not be the index's. The job can be polled,
// waited for and cancelled; the model can be, too, by its id.
func (ix *Index) TrainModel(ctx context.Context, id string, key []byte, options *ModelOptions) (*Training, ModelInfo, error) {
	if err := ended(ctx, "train model"); err != nil {
		return nil, ModelInfo{}, err
	}
	if options == nil {
		options = &ModelOptions{}
	}
	handle, info, err := trainModel(ix.handle, id, key, options)
	if err = ix.settle(err); err != nil {
		return nil, ModelInfo{}, err
	}
	return newTraining(handle, ix), info, nil
}

// Model reads the record of a model.
func (db *DB) Model(id string, key []byte) (ModelInfo, error) {
	info, err := modelInfo(db.handle, id, key)
	return info, db.settle(err)
}

// ListModels gives the ids of all models, in any state, in alphabetical order. It needs no key.
func (db *DB) ListModels() ([]string, error) {
	ids, err := listModels(db.handle)
	return ids, db.settle(err)
}

// WaitModel waits until the training of a model has ended and gives its record; that the model has failed is no error of
// this call. When the context ends first it gives the context's, and the training goes on.
func (db *DB) WaitModel(ctx context.Context, id string, key []byte) (ModelInfo, error) {
	const op = "wait for model"
	slice := uint64(waitSlice.Milliseconds())
	if ctx.Done() == nil {
		slice = math.MaxUint64
	}
	for {
		if err := ended(ctx, op); err != nil {
			return ModelInfo{}, err
		}
		start := time.Now()
		state, err := waitModel(db.handle, id, key, slice)
		if err = db.settle(err); err != nil {
			return ModelInfo{}, err
		}
		// Where another process trains it there is nothing to wait for.
		if state != ModelTraining || ctx.Done() == nil || time.Since(start) < waitSlice/2 {
			return db.Model(id, key)
		}
	}
}

// CancelModel asks the training of a model to stop; the model is then ModelFailed. One that has ended stays as it is.
func (db *DB) CancelModel(id string, key []byte) error {
	return db.settle(cancelModel(db.handle, id, key))
}

// DeleteModel deletes a model for good. ErrConflict while indexes made from it exist, which the message names, and while it
// is being trained, unless cancelFirst.
func (db *DB) DeleteModel(id string, key []byte, cancelFirst bool) error {
	return db.settle(deleteModel(db.handle, id, key, cancelFirst))
}

// ExportModel seals a model under packageKey as bytes to be carried to another store.
func (db *DB) ExportModel(id string, key, packageKey []byte) ([]byte, error) {
	data, err := exportModel(db.handle, id, key, packageKey)
	return data, db.settle(err)
}

// ImportModel makes a model of what ExportModel gave: opens it with packageKey and seals it anew under key. id "" means
// the one it was exported under.
func (db *DB) ImportModel(data, packageKey []byte, id string, key []byte) (ModelInfo, error) {
	info, err := importModel(db.handle, data, packageKey, id, key)
	return info, db.settle(err)
}
