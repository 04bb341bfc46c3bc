package cyborgdb

// Models: trained, shown, deleted, exported and imported.

// #include "ffi.h"
import "C"

import (
	"time"
	"unsafe"
)

func trainModel(index indexHandle, id string, key []byte, o *ModelOptions) (trainingHandle, ModelInfo, error) {
	const op = "train model"
	name, err := optionalText(op, "id", id)
	if err != nil {
		return nil, ModelInfo{}, err
	}
	description, err := optionalText(op, "Description", o.Description)
	if err != nil {
		return nil, ModelInfo{}, err
	}
	options := C.cyborg_model_options{
		struct_size:          C.sizeof_cyborg_model_options,
		quantizer:            C.cyborg_quantizer(o.Quantizer),
		pq_rotation:          flag(o.PQRotation),
		tolerance:            C.double(o.Tolerance),
		max_memory_mb:        C.uint64_t(o.MaxMemoryMB),
		max_training_vectors: C.uint64_t(o.MaxTrainingVectors),
		seed:                 C.uint64_t(o.Seed),
	}
	for _, f := range []struct {
		field string
		value int
		to    *C.uint32_t
	}{
		{"NLists", o.NLists, &options.n_lists}, {"SQBits", o.SQBits, &options.sq_bits}, {"PQM", o.PQM, &options.pq_m},
		{"PQBits", o.PQBits, &options.pq_bits}, {"RaBitQBits", o.RaBitQBits, &options.rabitq_bits},
		{"SearchSize", o.SearchSize, &options.search_size}, {"BatchSize", o.BatchSize, &options.batch_size},
		{"MaxIters", o.MaxIters, &options.max_iters},
	} {
		if *f.to, err = u32(op, f.field, f.value); err != nil {
			return nil, ModelInfo{}, err
		}
	}
	var job trainingHandle
	var record *C.cyborg_model_record
	var e *C.cyborg_error
	status := C.go_model_train(index, name, octets(key), C.size_t(len(key)), &options, description, &job, &record, &e)
	if err := failure(op, status, e); err != nil {
		return nil, ModelInfo{}, err
	}
	info, err := takeRecord(op, record)
	return job, info, err
}

func takeRecord(op string, record *C.cyborg_model_record) (ModelInfo, error) {
	defer C.cyborg_model_record_free(record)
	d := C.cyborg_model_details{struct_size: C.sizeof_cyborg_model_details}
	var e *C.cyborg_error
	if err := failure(op, C.cyborg_model_record_details(record, &d, &e), e); err != nil {
		return ModelInfo{}, err
	}
	at := func(ms C.uint64_t) time.Time {
		if ms == 0 {
			return time.Time{}
		}
		return time.UnixMilli(int64(ms)).UTC()
	}
	return ModelInfo{
		Id:             C.GoString(C.cyborg_model_record_id(record, nil)),
		State:          ModelState(d.state),
		Failure:        ModelFailure(d.failure_code),
		Error:          C.GoString(C.cyborg_model_record_error(record, nil)),
		CreatedAt:      at(d.created_at),
		FinishedAt:     at(d.finished_at),
		Description:    C.GoString(C.cyborg_model_record_description(record, nil)),
		Source:         C.GoString(C.cyborg_model_record_source(record, nil)),
		Dimension:      int(d.dimension),
		Metric:         Metric(d.metric),
		Quantizer:      Quantizer(d.quantizer),
		QuantizerBits:  int(d.quantizer_bits),
		PQM:            int(d.pq_m),
		PQRotation:     d.pq_rotation != 0,
		NLists:         int(d.n_lists),
		Seed:           uint64(d.seed),
		VectorsUsed:    uint64(d.vectors_used),
		Passes:         int(d.passes),
		Objective:      float64(d.objective),
		Bytes:          uint64(d.bytes),
		FormatVersion:  int(d.format_version),
		LibraryVersion: C.GoString(C.cyborg_model_record_library_version(record, nil)),
		UsedBy:         int(d.used_by),
	}, nil
}

func modelInfo(db dbHandle, id string, key []byte) (ModelInfo, error) {
	const op = "model"
	name, err := cText(op, "id", id)
	if err != nil {
		return ModelInfo{}, err
	}
	var record *C.cyborg_model_record
	var e *C.cyborg_error
	status := C.cyborg_model_info(db, name, octets(key), C.size_t(len(key)), &record, &e)
	if err := failure(op, status, e); err != nil {
		return ModelInfo{}, err
	}
	return takeRecord(op, record)
}

func listModels(db dbHandle) ([]string, error) {
	var ids *C.cyborg_names
	var e *C.cyborg_error
	if err := failure("list models", C.cyborg_model_list(db, &ids, &e), e); err != nil {
		return nil, err
	}
	return takeNames(ids), nil
}

func waitModel(db dbHandle, id string, key []byte, ms uint64) (ModelState, error) {
	const op = "wait for model"
	name, err := cText(op, "id", id)
	if err != nil {
		return 0, err
	}
	var state C.cyborg_model_state
	var e *C.cyborg_error
	status := C.cyborg_model_wait(db, name, octets(key), C.size_t(len(key)), C.uint64_t(ms), &state, &e)
	return ModelState(state), failure(op, status, e)
}

func cancelModel(db dbHandle, id string, key []byte) error {
	const op = "cancel model"
	name, err := cText(op, "id", id)
	if err != nil {
		return err
	}
	var e *C.cyborg_error
	return failure(op, C.cyborg_model_cancel(db, name, octets(key), C.size_t(len(key)), &e), e)
}

func deleteModel(db dbHandle, id string, key []byte, cancelFirst bool) error {
	const op = "delete model"
	name, err := cText(op, "id", id)
	if err != nil {
		return err
	}
	flags := C.uint32_t(0)
	if cancelFirst {
		flags = C.CYBORG_MODEL_DELETE_CANCEL_FIRST
	}
	var e *C.cyborg_error
	return failure(op, C.cyborg_model_delete(db, name, octets(key), C.size_t(len(key)), flags, &e), e)
}

func exportModel(db dbHandle, id string, key, packageKey []byte) ([]byte, error) {
	const op = "export model"
	name, err := cText(op, "id", id)
	if err != nil {
		return nil, err
	}
	var p *C.cyborg_model_package
	var e *C.cyborg_error
	status := C.cyborg_model_export(db, name, octets(key), C.size_t(len(key)), octets(packageKey),
		C.size_t(len(packageKey)), &p, &e)
	if err := failure(op, status, e); err != nil {
		return nil, err
	}
	defer C.cyborg_model_package_free(p)
	var n C.size_t
	data := C.cyborg_model_package_data(p, &n)
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(data)), n)...), nil
}

func importModel(db dbHandle, data, packageKey []byte, id string, key []byte) (ModelInfo, error) {
	const op = "import model"
	name, err := optionalText(op, "id", id)
	if err != nil {
		return ModelInfo{}, err
	}
	var record *C.cyborg_model_record
	var e *C.cyborg_error
	status := C.cyborg_model_import(db, octets(data), C.size_t(len(data)), octets(packageKey),
		C.size_t(len(packageKey)), name, octets(key), C.size_t(len(key)), &record, &e)
	if err := failure(op, status, e); err != nil {
		return ModelInfo{}, err
	}
	return takeRecord(op, record)
}
