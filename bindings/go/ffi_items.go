package cyborgdb

// Items by their ids: put in, read back, listed, deleted.

/*
#include "ffi.h"

// Readers of plain objects: they keep no pointer and never call back (a logger may be called by anything that works).
#cgo noescape cyborg_items_columns
#cgo nocallback cyborg_items_columns
#cgo nocallback cyborg_items_free
*/
import "C"

import "unsafe"

func upsert(op string, index indexHandle, b *batch, w *watch) (UpsertResult, error) {
	r := C.cyborg_upsert_result{struct_size: C.sizeof_cyborg_upsert_result}
	dimension, err := u32(op, "Dimension", b.dimension)
	if err != nil {
		return UpsertResult{}, err
	}
	isBase64 := C.int(0)
	if b.isBase64 {
		isBase64 = 1
	}
	base64 := (*C.char)(unsafe.Pointer(unsafe.StringData(b.base64)))
	var e *C.cyborg_error
	status := C.go_upsert(index, C.size_t(b.count), dimension, floats(b.vectors),
		base64, C.size_t(len(b.base64)), isBase64,
		octets(b.ids.data), C.size_t(len(b.ids.data)), numbers64(b.ids.offsets), numbers64(b.numbers),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(b.metadata.data))), C.size_t(len(b.metadata.data)),
		numbers64(b.metadata.offsets),
		octets(b.contents.data), C.size_t(len(b.contents.data)), numbers64(b.contents.offsets), octets(b.kinds),
		w.token, w.deadline, &r, &e)
	if err := failure(op, status, e); err != nil {
		return UpsertResult{}, err
	}
	return UpsertResult{
		Inserted: uint64(r.inserted), Updated: uint64(r.updated), Superseded: uint64(r.superseded),
		VectorCount: uint64(r.vector_count), TrainingTriggered: r.training_triggered != 0,
		Threshold: uint64(r.threshold),
	}, nil
}

func upsertMessage(r UpsertResult) string {
	result := C.cyborg_upsert_result{
		struct_size: C.sizeof_cyborg_upsert_result, training_triggered: flag(r.TrainingTriggered),
		vector_count: C.uint64_t(r.VectorCount), threshold: C.uint64_t(r.Threshold),
	}
	var text [C.CYBORG_UPSERT_MESSAGE_LEN]C.char
	C.cyborg_upsert_message(&result, &text[0], C.size_t(len(text)))
	return C.GoString(&text[0])
}

func get(index indexHandle, ids *idColumns, include Include) (*columns, error) {
	var items *C.cyborg_items
	var e *C.cyborg_error
	status := C.go_get(index, C.size_t(ids.count), octets(ids.data), C.size_t(len(ids.data)), numbers64(ids.offsets),
		numbers64(ids.numbers), C.uint32_t(include.bits()), &items, &e)
	if err := failure("get", status, e); err != nil {
		return nil, err
	}
	return takeItems("get", items)
}

func contains(index indexHandle, ids *idColumns) ([]bool, error) {
	found := make([]bool, ids.count) // C writes 0 or 1, which is how Go holds a bool
	out := (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(found)))
	var e *C.cyborg_error
	status := C.go_contains(index, C.size_t(ids.count), octets(ids.data), C.size_t(len(ids.data)),
		numbers64(ids.offsets), numbers64(ids.numbers), out, C.size_t(len(found)), &e)
	if err := failure("contains", status, e); err != nil {
		return nil, err
	}
	return found, nil
}

func deleteItems(index indexHandle, ids *idColumns) (uint64, error) {
	var n C.uint64_t
	var e *C.cyborg_error
	status := C.go_delete(index, C.size_t(ids.count), octets(ids.data), C.size_t(len(ids.data)),
		numbers64(ids.offsets), numbers64(ids.numbers), &n, &e)
	if err := failure("delete", status, e); err != nil {
		return 0, err
	}
	return uint64(n), nil
}

func openCursor(index indexHandle) (cursorObject, error) {
	var cursor cursorObject
	var e *C.cyborg_error
	return cursor, failure("list ids", C.cyborg_index_list_ids(index, &cursor, &e), e)
}

func nextPage(cursor cursorObject) (*columns, error) {
	var items *C.cyborg_items
	var e *C.cyborg_error
	if err := failure("list ids", C.cyborg_cursor_next(cursor, 0, &items, &e), e); err != nil {
		return nil, err
	}
	return takeItems("list ids", items)
}

func freeCursor(cursor cursorObject) { C.cyborg_cursor_free(cursor) }
