package cyborgdb

// Training jobs of indexes.

// #include "ffi.h"
import "C"

import "time"

func trainOptions(op string, o *TrainOptions) (C.cyborg_train_options, error) {
	c := C.cyborg_train_options{
		struct_size:          C.sizeof_cyborg_train_options,
		tolerance:            C.double(o.Tolerance),
		max_memory_mb:        C.uint64_t(o.MaxMemoryMB),
		max_training_vectors: C.uint64_t(o.MaxTrainingVectors),
		seed:                 C.uint64_t(o.Seed),
	}
	var err error
	if c.n_lists, err = u32(op, "NLists", o.NLists); err != nil {
		return c, err
	}
	if c.batch_size, err = u32(op, "BatchSize", o.BatchSize); err != nil {
		return c, err
	}
	c.max_iters, err = u32(op, "MaxIters", o.MaxIters)
	return c, err
}

func startTraining(index indexHandle, o *TrainOptions) (trainingHandle, error) {
	const op = "train"
	options, err := trainOptions(op, o)
	if err != nil {
		return nil, err
	}
	var job trainingHandle
	var e *C.cyborg_error
	return job, failure(op, C.cyborg_index_train(index, &options, nil, &job, &e), e)
}

func lastTraining(index indexHandle) (trainingHandle, error) {
	var job trainingHandle
	var e *C.cyborg_error
	return job, failure("last training", C.cyborg_index_training(index, &job, &e), e)
}

func trainBlocking(index indexHandle, o *TrainOptions, w *watch, progress uintptr) error {
	const op = "train"
	options, err := trainOptions(op, o)
	if err != nil {
		return err
	}
	var e *C.cyborg_error
	return failure(op, C.go_train(index, &options, w.token, w.deadline, C.uintptr_t(progress), &e), e)
}

func isTraining(index indexHandle) (bool, error) {
	var yes C.uint32_t
	var e *C.cyborg_error
	err := failure("is training", C.cyborg_index_is_training(index, &yes, &e), e)
	return yes != 0, err
}

func isTrained(index indexHandle) (bool, error) {
	var yes C.uint32_t
	var e *C.cyborg_error
	err := failure("is trained", C.cyborg_index_is_trained(index, &yes, &e), e)
	return yes != 0, err
}

func pollTraining(job trainingHandle) (TrainingProgress, error) {
	p := C.cyborg_training_progress{struct_size: C.sizeof_cyborg_training_progress}
	var e *C.cyborg_error
	if err := failure("poll training", C.cyborg_training_poll(job, &p, &e), e); err != nil {
		return TrainingProgress{}, err
	}
	return progressOf(&p), nil
}

func progressOf(p *C.cyborg_training_progress) TrainingProgress {
	return TrainingProgress{
		State: TrainingState(p.state), Phase: TrainingPhase(p.phase), Iteration: int(p.iteration),
		Done: uint64(p.done), Total: uint64(p.total), Objective: float64(p.objective),
		Elapsed: time.Duration(p.elapsed_ms) * time.Millisecond, VectorsUsed: uint64(p.vectors_used),
		Recall: float64(p.recall), End: TrainingEnd(p.end_reason),
	}
}

func waitTraining(job trainingHandle, ms uint64) (TrainingState, error) {
	var state C.cyborg_training_state
	var e *C.cyborg_error
	err := failure("wait for training", C.cyborg_training_wait(job, C.uint64_t(ms), &state, &e), e)
	return TrainingState(state), err
}

func trainingResult(job trainingHandle) error {
	var e *C.cyborg_error
	return failure("train", C.cyborg_training_result(job, &e), e)
}

func cancelTraining(job trainingHandle) error {
	var e *C.cyborg_error
	return failure("cancel training", C.cyborg_training_cancel(job, &e), e)
}

func freeTraining(job trainingHandle) { C.cyborg_training_free(job) }
