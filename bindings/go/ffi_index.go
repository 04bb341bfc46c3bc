package cyborgdb

// An index: made, opened, described, kept in order.

// #include "ffi.h"
import "C"

import (
	"strings"
	"unsafe"
)

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
