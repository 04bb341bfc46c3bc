/*
 * The C side of the files ffi*.go: functions that put arguments into the structs of cyborg.h, and the callbacks that
 * lead to Go.
 */
#ifndef CYBORGDB_FFI_H
#define CYBORGDB_FFI_H

#include "cyborg.h"

extern void cyborgGoLog(uintptr_t user, int32_t level, char *target, char *message);
extern void cyborgGoProgress(uintptr_t user, cyborg_training_progress *progress);

static void go_log(void *user, cyborg_log_level level, const char *target, const char *message) {
	cyborgGoLog((uintptr_t)user, level, (char *)target, (char *)message);
}

static void go_progress(void *user, const cyborg_training_progress *progress) {
	cyborgGoProgress((uintptr_t)user, (cyborg_training_progress *)progress);
}

static cyborg_status go_db_open(const char *url, cyborg_db_options *options, uintptr_t log, cyborg_db **out,
		cyborg_error **err) {
	cyborg_db_options o = *options;
	if (log != 0) {
		o.log = go_log;
		o.log_user = (void *)log;
	}
	return cyborg_db_open(url, &o, out, err);
}

static cyborg_call go_call(const cyborg_cancel *cancel, uint64_t deadline_ms) {
	cyborg_call call = CYBORG_CALL_INIT;
	call.cancel = cancel;
	call.deadline_ms = deadline_ms;
	return call;
}

static cyborg_ids go_ids(size_t count, const uint8_t *bytes, size_t bytes_len, const uint64_t *offsets,
		const uint64_t *numbers) {
	cyborg_ids ids = CYBORG_IDS_INIT;
	ids.count = count;
	ids.ids = bytes, ids.ids_len = bytes_len, ids.id_offsets = offsets;
	ids.id_numbers = numbers;
	return ids;
}

static cyborg_status go_upsert(cyborg_index *index, size_t count, uint32_t dimension, const float *vectors,
		const char *base64, size_t base64_len, int is_base64,
		const uint8_t *ids, size_t ids_len, const uint64_t *id_offsets, const uint64_t *id_numbers,
		const char *metadata, size_t metadata_len, const uint64_t *metadata_offsets,
		const uint8_t *contents, size_t contents_len, const uint64_t *contents_offsets, const uint8_t *kinds,
		const cyborg_cancel *cancel, uint64_t deadline_ms, cyborg_upsert_result *out, cyborg_error **err) {
	cyborg_call call = go_call(cancel, deadline_ms);
	cyborg_batch batch = CYBORG_BATCH_INIT;
	batch.count = count, batch.dimension = dimension, batch.vectors = vectors;
	batch.ids = ids, batch.ids_len = ids_len, batch.id_offsets = id_offsets, batch.id_numbers = id_numbers;
	batch.metadata = metadata, batch.metadata_len = metadata_len, batch.metadata_offsets = metadata_offsets;
	batch.contents = contents, batch.contents_len = contents_len, batch.contents_offsets = contents_offsets;
	batch.contents_kinds = kinds;
	if (is_base64) return cyborg_index_upsert_base64(index, &batch, base64, base64_len, &call, out, err);
	return cyborg_index_upsert(index, &batch, &call, out, err);
}

static cyborg_status go_get(cyborg_index *index, size_t count, const uint8_t *bytes, size_t bytes_len,
		const uint64_t *offsets, const uint64_t *numbers, uint32_t include, cyborg_items **out, cyborg_error **err) {
	cyborg_ids ids = go_ids(count, bytes, bytes_len, offsets, numbers);
	return cyborg_index_get(index, &ids, include, out, err);
}

static cyborg_status go_contains(cyborg_index *index, size_t count, const uint8_t *bytes, size_t bytes_len,
		const uint64_t *offsets, const uint64_t *numbers, uint8_t *out, size_t out_len, cyborg_error **err) {
	cyborg_ids ids = go_ids(count, bytes, bytes_len, offsets, numbers);
	return cyborg_index_contains(index, &ids, out, out_len, err);
}

static cyborg_status go_delete(cyborg_index *index, size_t count, const uint8_t *bytes, size_t bytes_len,
		const uint64_t *offsets, const uint64_t *numbers, uint64_t *out, cyborg_error **err) {
	cyborg_ids ids = go_ids(count, bytes, bytes_len, offsets, numbers);
	return cyborg_index_delete(index, &ids, out, err);
}

static cyborg_status go_train(cyborg_index *index, const cyborg_train_options *options, const cyborg_cancel *cancel,
		uint64_t deadline_ms, uintptr_t progress, cyborg_error **err) {
	cyborg_call call = go_call(cancel, deadline_ms);
	if (progress != 0) {
		call.progress = go_progress;
		call.user = (void *)progress;
	}
	return cyborg_index_train(index, options, &call, NULL, err);
}

static cyborg_status go_index_create(cyborg_db *db, const char *name, const uint8_t *key, size_t key_len,
		const cyborg_index_options *options, const char *model_id, const uint8_t *model_key, size_t model_key_len,
		cyborg_index **out, cyborg_error **err) {
	cyborg_index_options o = *options;
	o.model_id = model_id, o.model_key = model_key, o.model_key_len = model_key_len;
	return cyborg_index_create(db, name, key, key_len, &o, out, err);
}

static cyborg_status go_model_train(cyborg_index *source, const char *id, const uint8_t *key, size_t key_len,
		const cyborg_model_options *options, const char *description, cyborg_training **job,
		cyborg_model_record **record, cyborg_error **err) {
	cyborg_model_options o = *options;
	o.description = description;
	return cyborg_model_train(source, id, key, key_len, &o, job, record, err);
}

static cyborg_status go_query(cyborg_index *index, const float *queries, size_t n, uint32_t dimension,
		const cyborg_query_options *options, const cyborg_cancel *cancel, uint64_t deadline_ms, cyborg_results **out,
		cyborg_error **err) {
	cyborg_call call = go_call(cancel, deadline_ms);
	return cyborg_index_query(index, queries, n, dimension, options, &call, out, err);
}

static cyborg_status go_query_into(cyborg_index *index, const float *queries, size_t n, uint32_t dimension,
		const cyborg_query_options *options, const cyborg_cancel *cancel, uint64_t deadline_ms, uint64_t *ids,
		float *distances, uint32_t *counts, cyborg_error **err) {
	cyborg_call call = go_call(cancel, deadline_ms);
	return cyborg_index_query_into(index, queries, n, dimension, options, &call, ids, distances, counts, err);
}

static cyborg_status go_compact(cyborg_index *index, const cyborg_cancel *cancel, uint64_t ms, cyborg_error **err) {
	cyborg_call call = go_call(cancel, ms);
	return cyborg_index_compact(index, &call, err);
}

static cyborg_status go_verify(cyborg_index *index, const cyborg_cancel *cancel, uint64_t ms, cyborg_error **err) {
	cyborg_call call = go_call(cancel, ms);
	return cyborg_index_verify(index, &call, err);
}

#endif
