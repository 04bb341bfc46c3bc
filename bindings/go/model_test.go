package cyborgdb_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"cyborg.invalid/cyborgdb"
)

var modelKey = bytes.Repeat([]byte{8}, cyborgdb.KeyLen)

// modelled gives a db with an index and a model "m" of it.
func modelled(t testing.TB, options *cyborgdb.ModelOptions) (*cyborgdb.DB, *cyborgdb.Index, cyborgdb.ModelInfo) {
	t.Helper()
	db := open(t, "memory:", nil)
	index := create(t, db, &cyborgdb.IndexOptions{AutoTrainDisabled: true, Seed: 1})
	fill(t, index, cloud(2000, 16, 1))
	job, info, err := index.TrainModel(ctx, "m", modelKey, options)
	ok(t, err)
	defer job.Close()
	equal(t, "state", info.State, cyborgdb.ModelTraining)
	equal(t, "finished", info.FinishedAt.IsZero(), true)
	ok(t, job.Wait(ctx))
	info, err = db.WaitModel(ctx, "m", modelKey)
	ok(t, err)
	return db, index, info
}

func TestAModelMakesIndexesThatAreTrainedFromBirth(t *testing.T) {
	db, _, info := modelled(t, &cyborgdb.ModelOptions{NLists: 20, Quantizer: cyborgdb.SQ, SQBits: 8, Description: "d, e"})
	equal(t, "state", info.State, cyborgdb.ModelCreated)
	equal(t, "id", info.Id+" "+info.Description+" "+info.Source, "m d, e words")
	equal(t, "lists", info.NLists, 20)
	equal(t, "quantizer", info.Quantizer, cyborgdb.SQ)
	equal(t, "bits", info.QuantizerBits, 8)
	equal(t, "dimension", info.Dimension, 16)
	equal(t, "library", info.LibraryVersion, cyborgdb.Version())
	if info.VectorsUsed == 0 || info.Passes == 0 || info.Bytes == 0 || info.FinishedAt.Before(info.CreatedAt) {
		t.Error(info)
	}
	models, err := db.ListModels()
	ok(t, err)
	equal(t, "models", slices.Equal(models, []string{"m"}), true)

	made, err := db.CreateIndex("made", key, &cyborgdb.IndexOptions{ModelID: "m", ModelKey: modelKey})
	ok(t, err)
	defer made.Close()
	d, err := made.Describe()
	ok(t, err)
	equal(t, "trained", d.Trained, true)
	equal(t, "lists", d.NLists, 20)
	equal(t, "model", d.ModelID, "m")
	block := cloud(1000, 16, 2)
	fill(t, made, block)
	matches, err := made.Query(ctx, block.Vectors[:16], &cyborgdb.QueryOptions{TopK: 1, NProbes: 2})
	ok(t, err)
	equal(t, "nearest", matches[0].Id, "item-0")

	e := is(t, db.DeleteModel("m", modelKey, false), cyborgdb.ErrConflict)
	equal(t, "named", strings.Contains(e.Message, "made"), true)
	info, err = db.Model("m", modelKey)
	ok(t, err)
	equal(t, "used by", info.UsedBy, 1)
	ok(t, db.DropIndex("made", key))
	ok(t, db.DeleteModel("m", modelKey, false))
	_, err = db.Model("m", modelKey)
	is(t, err, cyborgdb.ErrNotFound)
}

func TestWhatAModelCannotDoIsRefused(t *testing.T) {
	db, index, _ := modelled(t, nil)
	_, _, err := index.TrainModel(ctx, "m", modelKey, nil)
	is(t, err, cyborgdb.ErrAlreadyExists)
	_, _, err = index.TrainModel(ctx, "x", modelKey, &cyborgdb.ModelOptions{NLists: 2000})
	equal(t, "needed", is(t, err, cyborgdb.ErrInsufficientVectors).Needed, 4000)
	long := strings.Repeat("x", cyborgdb.MaxModelDescription+1)
	_, _, err = index.TrainModel(ctx, "x", modelKey, &cyborgdb.ModelOptions{Description: long})
	is(t, err, cyborgdb.ErrInvalidArgument)
	_, _, err = index.TrainModel(ctx, "x\x00y", modelKey, nil)
	is(t, err, cyborgdb.ErrInvalidArgument)
	_, _, err = index.TrainModel(ctx, "x", modelKey, &cyborgdb.ModelOptions{SearchSize: -1})
	is(t, err, cyborgdb.ErrInvalidArgument)
	_, err = db.Model("m", key)
	is(t, err, cyborgdb.ErrWrongKey)
	for _, o := range []cyborgdb.IndexOptions{{Dimension: 16}, {Metric: cyborgdb.Euclidean}, {Quantizer: cyborgdb.Flat}} {
		o.ModelID, o.ModelKey = "m", modelKey
		_, err = db.CreateIndex("made", key, &o)
		is(t, err, cyborgdb.ErrInvalidArgument)
	}
	_, err = db.CreateIndex("made", key, &cyborgdb.IndexOptions{ModelID: "m"})
	is(t, err, cyborgdb.ErrWrongKey)
	_, err = db.CreateIndex("made", key, &cyborgdb.IndexOptions{ModelKey: modelKey})
	is(t, err, cyborgdb.ErrInvalidArgument)
}

func TestACancelledModelHasFailed(t *testing.T) {
	db := open(t, "memory:", nil)
	index := create(t, db, &cyborgdb.IndexOptions{AutoTrainDisabled: true, Seed: 1})
	fill(t, index, cloud(30000, 48, 1)) // enough to be at work for a while
	first, _, err := index.TrainModel(ctx, "first", modelKey, &cyborgdb.ModelOptions{NLists: 5000})
	ok(t, err)
	defer first.Close()
	second, info, err := index.TrainModel(ctx, "", modelKey, nil)
	ok(t, err)
	defer second.Close()
	equal(t, "length of the id", len(info.Id), 20)
	_, err = db.CreateIndex("made", key, &cyborgdb.IndexOptions{ModelID: info.Id, ModelKey: modelKey})
	is(t, err, cyborgdb.ErrModelNotReady) // it waits behind the first
	ok(t, db.CancelModel(info.Id, modelKey))
	info, err = db.WaitModel(ctx, info.Id, modelKey)
	ok(t, err)
	equal(t, "state", info.State, cyborgdb.ModelFailed)
	equal(t, "failure", info.Failure, cyborgdb.ModelCancelled)
	equal(t, "error", info.Error, "cancelled")
	is(t, second.Wait(ctx), cyborgdb.ErrCancelled)
	_, err = db.CreateIndex("made", key, &cyborgdb.IndexOptions{ModelID: info.Id, ModelKey: modelKey})
	is(t, err, cyborgdb.ErrModelFailed)
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = db.WaitModel(over, "first", modelKey)
	is(t, err, cyborgdb.ErrCancelled)
	_, _, err = index.TrainModel(over, "x", modelKey, nil)
	is(t, err, cyborgdb.ErrCancelled)
	ok(t, db.DeleteModel("first", modelKey, true))
	is(t, first.Wait(ctx), cyborgdb.ErrCancelled)
}

func TestAPackageCarriesAModel(t *testing.T) {
	db, _, info := modelled(t, &cyborgdb.ModelOptions{NLists: 8, Description: "carried"})
	data, err := db.ExportModel("m", modelKey, key)
	ok(t, err)
	elsewhere := open(t, "memory:", nil)
	_, err = elsewhere.ImportModel(data, modelKey, "", modelKey)
	is(t, err, cyborgdb.ErrWrongKey)
	_, err = elsewhere.ImportModel(data[:len(data)-1], key, "", modelKey)
	is(t, err, cyborgdb.ErrCorrupt)
	_, err = elsewhere.ImportModel(nil, key, "", modelKey)
	is(t, err, cyborgdb.ErrCorrupt)
	same, err := elsewhere.ImportModel(data, key, "", key)
	ok(t, err)
	equal(t, "imported", same, info)
	other, err := elsewhere.ImportModel(data, key, "other", modelKey)
	ok(t, err)
	equal(t, "id", other.Id, "other")
	_, err = elsewhere.ImportModel(data, key, "", key)
	is(t, err, cyborgdb.ErrAlreadyExists)
	made, err := elsewhere.CreateIndex("made", key, &cyborgdb.IndexOptions{ModelID: "m"}) // one key for both
	ok(t, err)
	ok(t, made.Close())
}
