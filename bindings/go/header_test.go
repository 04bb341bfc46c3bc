package cyborgdb

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every constant of the header that this package repeats has the header's value, and no status, category, state or
// phase of the header is missing here.
func TestConstantsAreThoseOfTheHeader(t *testing.T) {
	text, err := os.ReadFile("../../include/cyborg.h")
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]int64{}
	for _, m := range regexp.MustCompile(`(?m)^#define CYBORG_([A-Z0-9_]+) (\d+)$`).FindAllStringSubmatch(string(text), -1) {
		header[m[1]], _ = strconv.ParseInt(m[2], 10, 64)
	}
	ours := map[string]int64{
		"KEY_LEN": KeyLen, "MAX_NAME_LEN": MaxNameLen, "MAX_DIMENSION": MaxDimension, "MAX_LISTS": MaxLists,
		"MAX_ID_LEN": MaxIDLen, "MAX_METADATA_LEN": MaxMetadataLen, "MAX_CONTENTS_LEN": MaxContentsLen,
		"MAX_MODEL_ID_LEN": MaxModelIDLen, "MAX_MODEL_DESCRIPTION": MaxModelDescription,
		"MAX_BATCH_BYTES": MaxBatchBytes, "RECALL_POINTS": RecallPoints, "DEFAULT_TOP_K": DefaultTopK, "MAX_TOP_K": MaxTopK,
		"QUANTIZER_AUTO": 0, "QUANTIZER_FLAT": int64(Flat), "QUANTIZER_SQ": int64(SQ), "QUANTIZER_PQ": int64(PQ),
		"QUANTIZER_RABITQ":     int64(RaBitQ),
		"VECTOR_PRECISION_F32": int64(Float32), "VECTOR_PRECISION_F16": int64(Float16),
		"ID_KIND_BYTES": int64(Strings), "ID_KIND_U64": int64(Numbers),
		"CACHE_MODE_PLAIN": int64(CachePlain), "CACHE_MODE_SEALED": int64(CacheSealed),
		"CONTENTS_NONE": int64(contentsNone), "CONTENTS_BYTES": int64(contentsBytes), "CONTENTS_TEXT": int64(contentsText),
		"INCLUDE_DISTANCE": int64(IncludeDistance), "INCLUDE_METADATA": int64(IncludeMetadata),
		"INCLUDE_CONTENTS": int64(IncludeContents), "INCLUDE_VECTOR": int64(IncludeVector), "INCLUDE_ALL": int64(IncludeAll),
	}
	add := func(prefix string, value int64, name fmt.Stringer) {
		ours[prefix+strings.ToUpper(name.String())] = value
	}
	for s := range statusNames {
		add("STATUS_", int64(s), s)
	}
	for c := range categoryNames {
		add("CATEGORY_", int64(c), c)
	}
	for s := range stateNames {
		add("TRAINING_", int64(s), s)
	}
	for k := range kindNames {
		add("TRAINING_KIND_", int64(k), k)
	}
	for p := range phaseNames {
		add("PHASE_", int64(p), p)
	}
	for s := range modelStateNames {
		add("MODEL_STATE_", int64(s), s)
	}
	for f := range modelFailureNames {
		if f != 0 {
			add("MODEL_FAILURE_", int64(f), f)
		}
	}
	for m := range metricNames {
		if m != 0 {
			add("METRIC_", int64(m), m)
		}
	}
	for name, value := range ours {
		if got, ok := header[name]; !ok || got != value {
			t.Errorf("CYBORG_%s is %d here, %d in the header (there: %v)", name, value, got, ok)
		}
	}
	for name := range header {
		for _, prefix := range []string{"STATUS_", "CATEGORY_", "TRAINING_", "PHASE_", "METRIC_", "QUANTIZER_",
			"VECTOR_PRECISION_", "ID_KIND_", "CACHE_MODE_", "CONTENTS_", "INCLUDE_", "MAX_", "MODEL_STATE_",
			"MODEL_FAILURE_"} {
			if _, ok := ours[name]; !ok && strings.HasPrefix(name, prefix) {
				t.Errorf("CYBORG_%s is missing here", name)
			}
		}
	}
	if !IncludeMetadataJSON.disjoint(IncludeAll) {
		t.Error("IncludeMetadataJSON is a bit of the library")
	}
}

func (i Include) disjoint(j Include) bool { return i&j == 0 }

// Each status has a sentinel that matches it and no other.
func TestEachStatusHasItsSentinel(t *testing.T) {
	for s := range statusNames {
		for other := range statusNames {
			e := error(&Error{Status: s})
			if got := e.(*Error).Is(sentinel(other)); got != (s == other) {
				t.Errorf("%v matches %v: %v", s, other, got)
			}
		}
	}
	for want, err := range map[Status]error{
		StatusNullArgument: ErrNullArgument, StatusInvalidHandle: ErrInvalidHandle, StatusInvalidArgument: ErrInvalidArgument,
		StatusDimensionMismatch: ErrDimensionMismatch, StatusBufferTooSmall: ErrBufferTooSmall,
		StatusUnsupported: ErrUnsupported, StatusNotFound: ErrNotFound, StatusAlreadyExists: ErrAlreadyExists,
		StatusTrainingInProgress: ErrTrainingInProgress, StatusInsufficientVectors: ErrInsufficientVectors,
		StatusConflict: ErrConflict, StatusClosed: ErrClosed, StatusForked: ErrForked, StatusPoisoned: ErrPoisoned,
		StatusModelNotReady: ErrModelNotReady, StatusModelFailed: ErrModelFailed,
		StatusIO: ErrIO, StatusBusy: ErrBusy, StatusFenced: ErrFenced, StatusReadOnly: ErrReadOnly,
		StatusNoSpace: ErrNoSpace, StatusStoreUnsafe: ErrStoreUnsafe, StatusWrongKey: ErrWrongKey,
		StatusCorrupt: ErrCorrupt, StatusRollback: ErrRollback, StatusVersion: ErrVersion,
		StatusCancelled: ErrCancelled, StatusTimeout: ErrTimeout, StatusNoMemory: ErrNoMemory, StatusInternal: ErrInternal,
	} {
		if got := err.(sentinel); Status(got) != want {
			t.Errorf("the sentinel of %v is that of %v", want, Status(got))
		}
	}
}

func TestStatusesHaveAnHTTPCode(t *testing.T) {
	for status, want := range map[Status]int{StatusOK: 200, StatusWrongKey: 401, StatusNotFound: 404, StatusAlreadyExists: 409,
		StatusInsufficientVectors: 422, StatusCorrupt: 500, StatusBusy: 503, 77: 500} {
		if got := status.HTTP(); got != want {
			t.Errorf("%v: %d, want %d", status, got, want)
		}
	}
}

func TestUnknownNumbersHaveANameToo(t *testing.T) {
	if got := Status(77).String() + " " + Metric(9).String(); got != "Status(77) Metric(9)" {
		t.Error(got)
	}
}
