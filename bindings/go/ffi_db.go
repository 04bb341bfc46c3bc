package cyborgdb

// A db, and the indexes and jobs it tells of.

/*
#include "ffi.h"

// Keeps no pointer and never calls back.
#cgo nocallback cyborg_abi_version
*/
import "C"

import (
	"fmt"
	"unsafe"
)

func openDB(url string, o *Options, log uintptr) (dbHandle, error) {
	const op = "open"
	if got := uint32(C.cyborg_abi_version()); got != C.CYBORG_ABI_VERSION {
		return nil, &Error{Status: StatusUnsupported, Category: CategoryInput, Op: op, Item: -1,
			Message: fmt.Sprintf("library of ABI version %d, built for %d", got, C.CYBORG_ABI_VERSION)}
	}
	text, err := cText(op, "url", url)
	if err != nil {
		return nil, err
	}
	threads, err := u32(op, "Threads", o.Threads)
	if err != nil {
		return nil, err
	}
	options := C.cyborg_db_options{
		struct_size:  C.sizeof_cyborg_db_options,
		threads:      threads,
		memory_limit: C.uint64_t(o.MemoryLimit),
		cache_bytes:  C.uint64_t(o.CacheBytes),
		cache_mode:   C.cyborg_cache_mode(o.CacheMode),
		read_only:    flag(o.ReadOnly),
	}
	var db dbHandle
	var e *C.cyborg_error
	return db, failure(op, C.go_db_open(text, &options, C.uintptr_t(log), &db, &e), e)
}

func closeDB(db dbHandle) error {
	var e *C.cyborg_error
	return failure("close", C.cyborg_db_close(db, &e), e)
}

func freeDB(db dbHandle) { C.cyborg_db_free(db) }

func listIndexes(db dbHandle) ([]string, error) {
	var names *C.cyborg_names
	var e *C.cyborg_error
	if err := failure("list indexes", C.cyborg_db_list_indexes(db, &names, &e), e); err != nil {
		return nil, err
	}
	return takeNames(names), nil
}

func trainingStatus(db dbHandle) ([]string, error) {
	var names *C.cyborg_names
	var e *C.cyborg_error
	if err := failure("training status", C.cyborg_db_training_status(db, &names, &e), e); err != nil {
		return nil, err
	}
	return takeNames(names), nil
}

func trainingJobs(db dbHandle) ([]TrainingJob, error) {
	const op = "training jobs"
	var list *C.cyborg_training_list
	var e *C.cyborg_error
	if err := failure(op, C.cyborg_db_training_jobs(db, &list, &e), e); err != nil {
		return nil, err
	}
	defer C.cyborg_training_list_free(list)
	jobs := make([]TrainingJob, C.cyborg_training_list_count(list))
	for i := range jobs {
		var n C.size_t
		name := C.cyborg_training_list_name(list, C.size_t(i), &n)
		p := C.cyborg_training_progress{struct_size: C.sizeof_cyborg_training_progress}
		if err := failure(op, C.cyborg_training_list_progress(list, C.size_t(i), &p, &e), e); err != nil {
			return nil, err
		}
		jobs[i] = TrainingJob{
			Name:     string(unsafe.Slice((*byte)(unsafe.Pointer(name)), n)),
			Kind:     TrainingKind(C.cyborg_training_list_kind(list, C.size_t(i))),
			Place:    int(C.cyborg_training_list_place(list, C.size_t(i))),
			Progress: progressOf(&p),
		}
	}
	return jobs, nil
}

func dropIndex(db dbHandle, name string, key []byte) error {
	const op = "drop index"
	text, err := cText(op, "name", name)
	if err != nil {
		return err
	}
	var e *C.cyborg_error
	return failure(op, C.cyborg_db_drop_index(db, text, octets(key), C.size_t(len(key)), &e), e)
}
