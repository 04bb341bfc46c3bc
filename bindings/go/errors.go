package cyborgdb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Status says what went wrong. The numbers are frozen and the same in every language.
type Status int32

// The statuses. Each has a sentinel error of its name for errors.Is.
const (
	StatusOK                  Status = 0
	StatusNullArgument        Status = 10
	StatusInvalidHandle       Status = 11
	StatusInvalidArgument     Status = 12
	StatusDimensionMismatch   Status = 13
	StatusBufferTooSmall      Status = 14
	StatusUnsupported         Status = 15
	StatusNotFound            Status = 20
	StatusAlreadyExists       Status = 21
	StatusTrainingInProgress  Status = 22
	StatusInsufficientVectors Status = 23
	StatusConflict            Status = 24
	StatusClosed              Status = 25
	StatusForked              Status = 26
	StatusPoisoned            Status = 27
	StatusModelNotReady       Status = 28
	StatusModelFailed         Status = 29
	StatusIO                  Status = 30
	StatusBusy                Status = 31
	StatusFenced              Status = 32
	StatusReadOnly            Status = 33
	StatusNoSpace             Status = 34
	StatusStoreUnsafe         Status = 35
	StatusWrongKey            Status = 40
	StatusCorrupt             Status = 41
	StatusRollback            Status = 42
	StatusVersion             Status = 50
	StatusCancelled           Status = 60
	StatusTimeout             Status = 61
	StatusNoMemory            Status = 70
	StatusInternal            Status = 90
)

// Sentinels for errors.Is, one for each status.
var (
	// ErrNullArgument: a required pointer was missing. The binding itself never lets one be.
	ErrNullArgument error = sentinel(StatusNullArgument)
	// ErrInvalidHandle: not an open object. What was closed gives ErrClosed.
	ErrInvalidHandle error = sentinel(StatusInvalidHandle)
	// ErrInvalidArgument: a value outside its range; Error.Item tells which item of a batch.
	ErrInvalidArgument error = sentinel(StatusInvalidArgument)
	// ErrDimensionMismatch: the dimension is not that of the index; Needed and Got are set.
	ErrDimensionMismatch error = sentinel(StatusDimensionMismatch)
	// ErrBufferTooSmall: a slice to fill is too short; Needed and Got are set.
	ErrBufferTooSmall error = sentinel(StatusBufferTooSmall)
	// ErrUnsupported: valid, but not in this version or build.
	ErrUnsupported error = sentinel(StatusUnsupported)
	// ErrNotFound: no such index or model, or no store where one is opened read-only.
	ErrNotFound error = sentinel(StatusNotFound)
	// ErrAlreadyExists: the name is taken.
	ErrAlreadyExists error = sentinel(StatusAlreadyExists)
	// ErrTrainingInProgress: a training job of this index is queued or running.
	ErrTrainingInProgress error = sentinel(StatusTrainingInProgress)
	// ErrInsufficientVectors: training needs at least twice as many vectors as lists; Needed and Got are set.
	ErrInsufficientVectors error = sentinel(StatusInsufficientVectors)
	// ErrConflict: the object changed, or is in use in a way that forbids the call.
	ErrConflict error = sentinel(StatusConflict)
	// ErrClosed: the object or its db was closed, or the index was dropped.
	ErrClosed error = sentinel(StatusClosed)
	// ErrForked: the process forked after the db was opened.
	ErrForked error = sentinel(StatusForked)
	// ErrPoisoned: an earlier ErrInternal left the object unusable: close it.
	ErrPoisoned error = sentinel(StatusPoisoned)
	// ErrModelNotReady: a model that is still being trained.
	ErrModelNotReady error = sentinel(StatusModelNotReady)
	// ErrModelFailed: a model whose training failed; the message tells why.
	ErrModelFailed error = sentinel(StatusModelFailed)
	// ErrIO: the store failed to read or write.
	ErrIO error = sentinel(StatusIO)
	// ErrBusy: another process or db has the store open for writing; try again later.
	ErrBusy error = sentinel(StatusBusy)
	// ErrFenced: another writer took the store over; this db can only read from now on.
	ErrFenced error = sentinel(StatusFenced)
	// ErrReadOnly: a write on a db that was opened read-only, or became so after a failed sync.
	ErrReadOnly error = sentinel(StatusReadOnly)
	// ErrNoSpace: the store is full; what was there before can still be read.
	ErrNoSpace error = sentinel(StatusNoSpace)
	// ErrStoreUnsafe: the store does not keep the promises that a durable commit needs.
	ErrStoreUnsafe error = sentinel(StatusStoreUnsafe)
	// ErrWrongKey: the key does not open this index.
	ErrWrongKey error = sentinel(StatusWrongKey)
	// ErrCorrupt: stored bytes are not what was written.
	ErrCorrupt error = sentinel(StatusCorrupt)
	// ErrRollback: the store shows an older state than this process has seen.
	ErrRollback error = sentinel(StatusRollback)
	// ErrVersion: written by a newer version of the format.
	ErrVersion error = sentinel(StatusVersion)
	// ErrCancelled: the context was cancelled, or Training.Cancel stopped the job.
	ErrCancelled error = sentinel(StatusCancelled)
	// ErrTimeout: the context's deadline passed.
	ErrTimeout error = sentinel(StatusTimeout)
	// ErrNoMemory: memory was refused by the system or by a limit; Needed and Got are set.
	ErrNoMemory error = sentinel(StatusNoMemory)
	// ErrInternal: a defect of the library; the object of the call is poisoned, the process is not harmed.
	ErrInternal error = sentinel(StatusInternal)
)

var statusNames = map[Status]string{
	StatusOK: "OK", StatusNullArgument: "NULL_ARGUMENT", StatusInvalidHandle: "INVALID_HANDLE",
	StatusInvalidArgument: "INVALID_ARGUMENT", StatusDimensionMismatch: "DIMENSION_MISMATCH",
	StatusBufferTooSmall: "BUFFER_TOO_SMALL", StatusUnsupported: "UNSUPPORTED", StatusNotFound: "NOT_FOUND",
	StatusAlreadyExists: "ALREADY_EXISTS", StatusTrainingInProgress: "TRAINING_IN_PROGRESS",
	StatusInsufficientVectors: "INSUFFICIENT_VECTORS", StatusConflict: "CONFLICT", StatusClosed: "CLOSED",
	StatusForked: "FORKED", StatusPoisoned: "POISONED",
	StatusModelNotReady: "MODEL_NOT_READY", StatusModelFailed: "MODEL_FAILED", StatusIO: "IO", StatusBusy: "BUSY", StatusFenced: "FENCED",
	StatusReadOnly: "READ_ONLY", StatusNoSpace: "NO_SPACE", StatusStoreUnsafe: "STORE_UNSAFE",
	StatusWrongKey: "WRONG_KEY", StatusCorrupt: "CORRUPT", StatusRollback: "ROLLBACK", StatusVersion: "VERSION",
	StatusCancelled: "CANCELLED", StatusTimeout: "TIMEOUT", StatusNoMemory: "NO_MEMORY", StatusInternal: "INTERNAL",
}

// String gives the name of a status as in cyborg.h without its prefix: "WRONG_KEY".
func (s Status) String() string { return name(statusNames, s, "Status") }

// Category says what can be done about an error.
type Category int32

// The categories.
const (
	// CategoryInput: the call was wrong: mend the arguments.
	CategoryInput Category = 1
	// CategoryState: the object is in a state that forbids the call.
	CategoryState Category = 2
	// CategoryTransient: the same call may succeed later.
	CategoryTransient Category = 3
	// CategoryPermanent: the same call will fail again until something outside is mended.
	CategoryPermanent Category = 4
	// CategorySecurity: wrong key, damage or rollback.
	CategorySecurity Category = 5
)

var categoryNames = map[Category]string{
	CategoryInput: "input", CategoryState: "state", CategoryTransient: "transient",
	CategoryPermanent: "permanent", CategorySecurity: "security",
}

// String gives the name of a category: "input".
func (c Category) String() string { return name(categoryNames, c, "Category") }

// Error is what every method of this package returns when it fails; take it with errors.As.
type Error struct {
	// Status tells what went wrong; compare with errors.Is and the sentinels.
	Status Status
	// Category tells what can be done about it.
	Category Category
	// Op is the method that failed: "upsert".
	Op string
	// Message is one line that says what is wrong and with which value; it never holds keys, ids, vectors, metadata
	// or contents.
	Message string
	// Item is the position in its batch of the item that the error is about, -1 when it is not about one.
	Item int64
	// Field is the parameter or option that an ErrInvalidArgument of the library is about, Value what it was and
	// Allowed what it may be, as text; "" when it is not about one.
	Field, Value, Allowed string
	// Needed is how much was needed and Got how much there was (vectors, bytes, elements), 0 where that means nothing.
	Needed, Got uint64

	cause error // context.Canceled, context.DeadlineExceeded or the context's own cause
}

// Error gives the method and the message.
func (e *Error) Error() string { return "cyborgdb: " + e.Op + ": " + e.Message }

// Is makes errors.Is match the sentinel of the error's status.
func (e *Error) Is(target error) bool {
	s, ok := target.(sentinel)
	return ok && Status(s) == e.Status
}

// Unwrap gives the context's error when a context ended the call, otherwise nil.
func (e *Error) Unwrap() error { return e.cause }

type sentinel Status

func (s sentinel) Error() string { return "cyborgdb: " + Status(s).String() }

// refused is an argument that the binding itself turns down, before the library sees it.
func refused(op string, item int, format string, values ...any) *Error {
	return &Error{Status: StatusInvalidArgument, Category: CategoryInput, Op: op, Item: int64(item),
		Message: fmt.Sprintf(format, values...)}
}

// mismatch is a length that the binding itself turns down.
func mismatch(op string, status Status, item int, what string, needed, got int) *Error {
	e := refused(op, item, "%s: %d, needed %d", what, got, needed)
	e.Status, e.Needed, e.Got = status, uint64(needed), uint64(got)
	return e
}

func closedError(op string) *Error {
	return &Error{Status: StatusClosed, Category: CategoryState, Op: op, Item: -1, Message: "closed"}
}

// ended is the error of a call that its context stopped, or never let begin; nil while the context lives.
func ended(ctx context.Context, op string) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	e := &Error{Status: StatusCancelled, Category: CategoryTransient, Op: op, Item: -1, Message: err.Error(), cause: err}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Status = StatusTimeout
	}
	if cause := context.Cause(ctx); cause != err {
		e.cause = errors.Join(err, cause)
	}
	return e
}

// stopped gives an error of the library that a context brought about the context's own.
func stopped(ctx context.Context, err error) error {
	e, ok := err.(*Error)
	if !ok || e.Status != StatusCancelled && e.Status != StatusTimeout {
		return err
	}
	if end := ended(ctx, e.Op); end != nil {
		return end
	}
	// The library's clock ran out a moment before the context's.
	if e.Status == StatusTimeout {
		e.cause = context.DeadlineExceeded
	}
	return e
}

// name looks a number up that may be newer than this package.
func name[T ~int32](names map[T]string, value T, kind string) string {
	if n, ok := names[value]; ok {
		return n
	}
	return kind + "(" + strconv.Itoa(int(value)) + ")"
}
