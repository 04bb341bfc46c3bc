package cyborgdb

// The files ffi*.go call the library (columns.go reads what it gave back): one for each noun, and this one with what they
// share. Each function converts, calls once, and converts back. What C needs in structs that hold pointers (columns,
// callbacks) goes as arguments to a small C function (ffi.h) that fills the struct on its own stack: Go memory passed as
// an argument needs neither copy nor pinning, and C never sees a Go pointer that lies inside Go memory.
//
// Handles (cyborg_db, cyborg_index, cyborg_training, cyborg_cancel) are numbers of a table in the shape of pointers to
// incomplete types, which Go's collector does not follow. A freed one gives INVALID_HANDLE, so Close needs no lock
// against calls under way.

/*
#include "ffi.h"

// Readers of plain objects: they keep no pointer and never call back (a logger may be called by anything that works).
#cgo noescape cyborg_names_at
#cgo nocallback cyborg_names_at
#cgo nocallback cyborg_names_count
#cgo nocallback cyborg_names_free
#cgo noescape cyborg_cancel_create
#cgo nocallback cyborg_cancel_create
#cgo nocallback cyborg_cancel_set
#cgo nocallback cyborg_cancel_free
#cgo nocallback cyborg_error_category
#cgo nocallback cyborg_error_message
#cgo nocallback cyborg_error_item_index
#cgo nocallback cyborg_error_field
#cgo nocallback cyborg_error_value
#cgo nocallback cyborg_error_allowed
#cgo nocallback cyborg_error_needed
#cgo nocallback cyborg_error_got
#cgo nocallback cyborg_error_free
*/
import "C"

import (
	"context"
	"math"
	"runtime"
	"time"
	"unsafe"
)

type (
	dbHandle       = *C.cyborg_db
	indexHandle    = *C.cyborg_index
	trainingHandle = *C.cyborg_training
	cursorObject   = *C.cyborg_cursor
)

// Version is the version of the library, as "major.minor.patch".
func Version() string { return C.GoString(C.cyborg_version()) }

// BuildInfo tells what is running as key=value words: version, simd, aes, features. For logs and bug reports.
func BuildInfo() string { return C.GoString(C.cyborg_build_info()) }

// HTTP gives the code that a server should answer with: 200, 401, 404, 409, 422, 500 or 503.
func (s Status) HTTP() int { return int(C.cyborg_status_http(C.cyborg_status(s))) }

// --- conversions ------------------------------------------------------------------------------------------------------

// failure makes an error of a status and its object, which it frees; nil for OK.
func failure(op string, status C.cyborg_status, e *C.cyborg_error) error {
	if status == C.CYBORG_STATUS_OK {
		return nil
	}
	if e == nil {
		return &Error{Status: Status(status), Op: op, Item: -1, Message: Status(status).String()}
	}
	defer C.cyborg_error_free(e)
	return &Error{
		Status:   Status(status),
		Category: Category(C.cyborg_error_category(e)),
		Op:       op,
		Message:  C.GoString(C.cyborg_error_message(e)),
		Item:     int64(C.cyborg_error_item_index(e)),
		Field:    C.GoString(C.cyborg_error_field(e)),
		Value:    C.GoString(C.cyborg_error_value(e)),
		Allowed:  C.GoString(C.cyborg_error_allowed(e)),
		Needed:   uint64(C.cyborg_error_needed(e)),
		Got:      uint64(C.cyborg_error_got(e)),
	}
}

// cText is NUL-terminated text of C in Go memory. A NUL inside would silently cut it.
func cText(op, what, text string) (*C.char, error) {
	b := make([]byte, len(text)+1)
	copy(b, text)
	for i := range len(text) {
		if b[i] == 0 {
			return nil, refused(op, -1, "%s: a NUL byte at position %d, needed text without", what, i)
		}
	}
	return (*C.char)(unsafe.Pointer(&b[0])), nil
}

// optionalText is cText, or NULL for "".
func optionalText(op, what, text string) (*C.char, error) {
	if text == "" {
		return nil, nil
	}
	return cText(op, what, text)
}

// u32 converts a field that Go people like to have as int.
func u32(op, field string, value int) (C.uint32_t, error) {
	if value < 0 || uint64(value) > math.MaxUint32 {
		return 0, refused(op, -1, "%s: %d, needed 0 to %d", field, value, uint32(math.MaxUint32))
	}
	return C.uint32_t(value), nil
}

func flag(b bool) C.uint32_t {
	if b {
		return 1
	}
	return 0
}

func floats(v []float32) *C.float      { return (*C.float)(unsafe.SliceData(v)) }
func octets(v []byte) *C.uint8_t       { return (*C.uint8_t)(unsafe.SliceData(v)) }
func numbers64(v []uint64) *C.uint64_t { return (*C.uint64_t)(unsafe.SliceData(v)) }
func numbers32(v []uint32) *C.uint32_t { return (*C.uint32_t)(unsafe.SliceData(v)) }

func takeNames(names *C.cyborg_names) []string {
	defer C.cyborg_names_free(names)
	out := make([]string, C.cyborg_names_count(names))
	for i := range out {
		var n C.size_t
		p := C.cyborg_names_at(names, C.size_t(i), &n)
		out[i] = string(unsafe.Slice((*byte)(unsafe.Pointer(p)), n))
	}
	return out
}

// keep holds a Go object, and with it the handle that its cleanup would free, until the call before it has returned.
func keep(object any) { runtime.KeepAlive(object) }

// --- calls that a context can stop -----------------------------------------------------------------------------------

// watch is what a context means to C: a token that its end sets, and the time left.
type watch struct {
	token    *C.cyborg_cancel
	deadline C.uint64_t
	stop     func() bool
}

func watchContext(ctx context.Context, op string) (watch, error) {
	var w watch
	if err := ended(ctx, op); err != nil || ctx.Done() == nil {
		return w, err
	}
	if at, ok := ctx.Deadline(); ok {
		w.deadline = C.uint64_t(max(1, time.Until(at).Milliseconds()+1))
	}
	var e *C.cyborg_error
	if err := failure(op, C.cyborg_cancel_create(&w.token, &e), e); err != nil {
		return w, err
	}
	token := w.token
	w.stop = context.AfterFunc(ctx, func() { C.cyborg_cancel_set(token, nil) })
	return w, nil
}

// end may free the token while the context's goroutine still sets it: a stale token is refused, not touched.
func (w *watch) end() {
	if w.token != nil {
		w.stop()
		C.cyborg_cancel_free(w.token)
	}
}
