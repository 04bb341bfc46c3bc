package cyborgdb

// What the library calls. Go functions that C sees by name stand apart from the files ffi*.go, as cgo wants it.

// #include "cyborg.h"
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
	"sync"
	"sync/atomic"
)

// loggers are looked up by number rather than held as cgo.Handle: a record of a call that was still under way when its
// db was closed finds no logger and is dropped, where a deleted cgo.Handle would panic.
var (
	loggers    sync.Map // uintptr -> *slog.Logger
	lastLogger atomic.Uintptr
)

func addLogger(logger *slog.Logger) uintptr {
	if logger == nil {
		return 0
	}
	id := lastLogger.Add(1)
	loggers.Store(id, logger)
	return id
}

func removeLogger(id uintptr) { loggers.Delete(id) }

//export cyborgGoLog
func cyborgGoLog(user C.uintptr_t, level C.int32_t, target, message *C.char) {
	logger, ok := loggers.Load(uintptr(user))
	if !ok {
		return
	}
	// A panic must not run through the library; a handler that panics loses its record.
	defer func() { _ = recover() }()
	severity := slog.LevelInfo
	switch level {
	case C.CYBORG_LOG_ERROR:
		severity = slog.LevelError
	case C.CYBORG_LOG_WARN:
		severity = slog.LevelWarn
	}
	logger.(*slog.Logger).LogAttrs(context.Background(), severity, C.GoString(message),
		slog.String("target", C.GoString(target)))
}

// reporter carries progress of one call. A panic of the user's function stops the call and goes on behind it.
type reporter struct {
	report   func(TrainingProgress)
	cancel   context.CancelFunc
	panicked any
}

//export cyborgGoProgress
func cyborgGoProgress(user C.uintptr_t, progress *C.cyborg_training_progress) {
	r := cgo.Handle(user).Value().(*reporter)
	if r.panicked != nil {
		return
	}
	defer func() {
		if r.panicked = recover(); r.panicked != nil {
			r.cancel()
		}
	}()
	r.report(progressOf(progress))
}
