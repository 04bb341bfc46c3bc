package cyborgdb

// The file that calls the library (columns.go reads what it gave back): each function here converts, calls once, and
// converts back. What C needs in structs that hold pointers (columns, callbacks) goes as arguments to a small C function
// (ffi.h) that fills the struct on its own stack: Go memory passed as an argument needs neither copy nor pinning, and C
// never sees a Go pointer that lies inside Go memory.
//
// Handles (cyborg_db, cyborg_index, cyborg_training, cyborg_cancel) are numbers of a table in the shape of pointers to
// incomplete types, which Go's collector does not follow. A freed one gives INVALID_HANDLE, so Close needs no lock
// against calls under way.

/*
#include "ffi.h"

// Readers of plain objects: they keep no pointer and never call back (a logger may be called by anything that works).
#cgo noescape cyborg_results_columns
#cgo nocallback cyborg_results_columns
#cgo noescape cyborg_results_stats
#cgo nocallback cyborg_results_stats
#cgo noescape cyborg_items_columns
#cgo nocallback cyborg_items_columns
#cgo noescape cyborg_names_at
#cgo nocallback cyborg_names_at
#cgo nocallback cyborg_names_count
#cgo nocallback cyborg_names_free
#cgo nocallback cyborg_results_free
#cgo nocallback cyborg_items_free
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
#cgo nocallback cyborg_abi_version
*/
import "C"

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
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

// --- db ---------------------------------------------------------------------------------------------------------------

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

// --- index ------------------------------------------------------------------------------------------------------------

func createIndex(db dbHandle, name string, key []byte, o *IndexOptions) (indexHandle, error) {
	const op = "create index"
	text, err := cText(op, "name", name)
	if err != nil {
		return nil, err
	}
	dimension, err := u32(op, "Dimension", o.Dimension)
	if err != nil {
		return nil, err
	}
	var parameters [4]C.uint32_t
	for i, p := range []struct {
		field string
		value int
	}{{"SQBits", o.SQBits}, {"PQM", o.PQM}, {"PQBits", o.PQBits}, {"RaBitQBits", o.RaBitQBits}} {
		if parameters[i], err = u32(op, p.field, p.value); err != nil {
			return nil, err
		}
	}
	options := C.cyborg_index_options{
		struct_size:         C.sizeof_cyborg_index_options,
		dimension:           dimension,
		metric:              C.cyborg_metric(o.Metric),
		quantizer:           C.cyborg_quantizer(o.Quantizer),
		sq_bits:             parameters[0],
		id_kind:             C.cyborg_id_kind(o.IDKind),
		auto_train_disabled: flag(o.AutoTrainDisabled),
		target_recall:       C.float(o.TargetRecall),
		retrain_threshold:   C.uint64_t(o.RetrainThreshold),
		seed:                C.uint64_t(o.Seed),
		pq_m:                parameters[1],
		pq_bits:             parameters[2],
		pq_rotation:         flag(o.PQRotation),
		rabitq_bits:         parameters[3],
		vector_precision:    C.cyborg_vector_precision(o.VectorPrecision),
	}
	var index indexHandle
	var e *C.cyborg_error
	model, err := optionalText(op, "ModelID", o.ModelID)
	if err != nil {
		return nil, err
	}
	status := C.go_index_create(db, text, octets(key), C.size_t(len(key)), &options, model, octets(o.ModelKey),
		C.size_t(len(o.ModelKey)), &index, &e)
	return index, failure(op, status, e)
}

func openIndex(db dbHandle, name string, key []byte) (indexHandle, error) {
	const op = "open index"
	text, err := cText(op, "name", name)
	if err != nil {
		return nil, err
	}
	var index indexHandle
	var e *C.cyborg_error
	return index, failure(op, C.cyborg_index_open(db, text, octets(key), C.size_t(len(key)), nil, &index, &e), e)
}

func freeIndex(index indexHandle) { C.cyborg_index_free(index) }

func describe(index indexHandle) (IndexInfo, error) {
	i := C.cyborg_index_info{struct_size: C.sizeof_cyborg_index_info}
	var e *C.cyborg_error
	if err := failure("describe", C.cyborg_index_describe(index, &i, &e), e); err != nil {
		return IndexInfo{}, err
	}
	var ids *C.cyborg_names
	if err := failure("describe", C.cyborg_index_model(index, &ids, &e), e); err != nil {
		return IndexInfo{}, err
	}
	return IndexInfo{
		ModelID:   strings.Join(takeNames(ids), ""), // none or one
		Dimension: int(i.dimension), Metric: Metric(i.metric), Quantizer: Quantizer(i.quantizer),
		QuantizerBits: int(i.quantizer_bits), IDKind: IDKind(i.id_kind), Trained: i.trained != 0,
		Training: i.training != 0, AutoTrain: i.auto_train != 0, NLists: int(i.n_lists),
		AutoProbes: int(i.auto_probes), TargetRecall: float32(i.target_recall), Count: uint64(i.count),
		Generation: uint64(i.generation), Sequence: uint64(i.sequence),
		RetrainThreshold: uint64(i.retrain_threshold), Seed: uint64(i.seed),
		QuantizerM: int(i.quantizer_m), QuantizerRotation: i.quantizer_rotation != 0,
		Configured: QuantizerConfig{
			Quantizer: Quantizer(i.configured_quantizer), Bits: int(i.configured_bits), M: int(i.configured_m),
			Rotation: i.configured_rotation != 0,
		},
		VectorPrecision: VectorPrecision(i.vector_precision), CodeBytes: int(i.code_bytes),
		RecallQueries: int(i.recall_queries),
		RecallAt10:    [RecallPoints]RecallPoint(recallPoints(i.recall_at_10_probes[:], i.recall_at_10[:])),
		RecallAt100:   [RecallPoints]RecallPoint(recallPoints(i.recall_at_100_probes[:], i.recall_at_100[:])),
	}, nil
}

// recallPoints pairs probes and recalls.
func recallPoints(probes []C.uint32_t, recalls []C.float) []RecallPoint {
	points := make([]RecallPoint, len(probes))
	for i, n := range probes {
		points[i] = RecallPoint{Probes: int(n), Recall: float32(recalls[i])}
	}
	return points
}

func recallCurve(index indexHandle, k int) ([]RecallPoint, error) {
	const op = "recall curve"
	which, err := u32(op, "k", k)
	if err != nil {
		return nil, err
	}
	// A curve has some hundred points; a training meanwhile may make it longer.
	var probes []C.uint32_t
	var recalls []C.float
	for {
		var n C.size_t
		var e *C.cyborg_error
		status := C.cyborg_index_recall_curve(index, which, unsafe.SliceData(probes), unsafe.SliceData(recalls),
			C.size_t(len(probes)), &n, &e)
		if status == C.CYBORG_STATUS_BUFFER_TOO_SMALL {
			n = C.size_t(C.cyborg_error_needed(e))
			C.cyborg_error_free(e)
		} else if err := failure(op, status, e); err != nil || int(n) <= len(probes) {
			return recallPoints(probes[:n], recalls[:n]), err
		}
		probes, recalls = make([]C.uint32_t, n), make([]C.float, n)
	}
}

func stats(index indexHandle) (IndexStats, error) {
	s := C.cyborg_index_stats_info{struct_size: C.sizeof_cyborg_index_stats_info}
	var e *C.cyborg_error
	if err := failure("stats", C.cyborg_index_stats(index, &s, &e), e); err != nil {
		return IndexStats{}, err
	}
	return IndexStats{
		Count: uint64(s.count), Tombstones: uint64(s.tombstones), Deltas: uint64(s.deltas),
		DeltaItems: uint64(s.delta_items), Runs: uint64(s.runs), StoredBytes: uint64(s.stored_bytes),
		ResidentBytes: uint64(s.resident_bytes), CacheBytes: uint64(s.cache_bytes), CacheHits: uint64(s.cache_hits),
		CacheMisses: uint64(s.cache_misses), LargestListPermille: uint64(s.largest_list_permille),
		BalancePermille: uint64(s.balance_permille), Writes: uint64(s.writes), CurveWrites: uint64(s.curve_writes),
		CurveQueries: uint64(s.curve_queries),
	}, nil
}

func count(index indexHandle) (uint64, error) {
	var n C.uint64_t
	var e *C.cyborg_error
	err := failure("count", C.cyborg_index_count(index, &n, &e), e)
	return uint64(n), err
}

func compact(index indexHandle, w *watch) error {
	var e *C.cyborg_error
	return failure("compact", C.go_compact(index, w.token, w.deadline, &e), e)
}

func verify(index indexHandle, w *watch) error {
	var e *C.cyborg_error
	return failure("verify", C.go_verify(index, w.token, w.deadline, &e), e)
}

// --- items ------------------------------------------------------------------------------------------------------------

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

// --- search -----------------------------------------------------------------------------------------------------------

func queryOptions(op string, o *QueryOptions) (C.cyborg_query_options, error) {
	c := C.cyborg_query_options{struct_size: C.sizeof_cyborg_query_options, include: C.cyborg_include(o.Include.bits())}
	for _, f := range []struct {
		field string
		value int
		to    *C.uint32_t
	}{
		{"TopK", o.TopK, &c.top_k}, {"NProbes", o.NProbes, &c.n_probes},
		{"RerankMult", o.RerankMult, &c.rerank_mult}, {"Threads", o.Threads, &c.threads},
	} {
		var err error
		if *f.to, err = u32(op, f.field, f.value); err != nil {
			return c, err
		}
	}
	if o.Radius != nil {
		c.has_radius, c.radius = 1, C.float(*o.Radius)
	}
	return c, nil
}

func query(op string, index indexHandle, q []float32, n, dimension int, o *QueryOptions, w *watch) (*columns, error) {
	options, err := queryOptions(op, o)
	if err != nil {
		return nil, err
	}
	width, err := u32(op, "dimension", dimension)
	if err != nil {
		return nil, err
	}
	var results *C.cyborg_results
	var e *C.cyborg_error
	status := C.go_query(index, floats(q), C.size_t(n), width, &options, w.token, w.deadline, &results, &e)
	if err := failure(op, status, e); err != nil {
		return nil, err
	}
	defer C.cyborg_results_free(results)
	if o.Stats != nil {
		if err := sumStats(op, results, n, o.Stats); err != nil {
			return nil, err
		}
	}
	c := C.cyborg_columns{struct_size: C.sizeof_cyborg_columns}
	if err := failure(op, C.cyborg_results_columns(results, &c, &e), e); err != nil {
		return nil, err
	}
	return readColumns(&c), nil
}

func sumStats(op string, results *C.cyborg_results, n int, out *QueryStats) error {
	*out = QueryStats{}
	for i := range n {
		s := C.cyborg_query_stats{struct_size: C.sizeof_cyborg_query_stats}
		var e *C.cyborg_error
		if err := failure(op, C.cyborg_results_stats(results, C.size_t(i), &s, &e), e); err != nil {
			return err
		}
		out.ListsProbed += uint64(s.lists_probed)
		out.VectorsScanned += uint64(s.vectors_scanned)
		out.BytesOpened += uint64(s.bytes_opened)
		out.Reranked += uint64(s.reranked)
	}
	return nil
}

func queryInto(index indexHandle, q []float32, n, dimension int, o *QueryOptions, w *watch, ids []uint64,
	distances []float32, counts []uint32) error {
	const op = "query into"
	options, err := queryOptions(op, o)
	if err != nil {
		return err
	}
	width, err := u32(op, "dimension", dimension)
	if err != nil {
		return err
	}
	var e *C.cyborg_error
	status := C.go_query_into(index, floats(q), C.size_t(n), width, &options, w.token, w.deadline, numbers64(ids),
		floats(distances), numbers32(counts), &e)
	return failure(op, status, e)
}

// --- training ---------------------------------------------------------------------------------------------------------

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

// --- models -----------------------------------------------------------------------------------------------------------

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

// keep holds a Go object, and with it the handle that its cleanup would free, until the call before it has returned.
func keep(object any) { runtime.KeepAlive(object) }
