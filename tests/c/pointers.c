/* Every pointer of every function may be NULL: an error where it is needed, the default where it is optional. */
#include "check.h"

static void accessors(void) {
    size_t len = 7;
    uint8_t kind = 7;
    CHECK(cyborg_error_status(NULL) == CYBORG_STATUS_OK && cyborg_error_category(NULL) == 0);
    CHECK(cyborg_error_message(NULL)[0] == '\0' && cyborg_error_item_index(NULL) == -1);
    CHECK(cyborg_error_needed(NULL) == 0 && cyborg_error_got(NULL) == 0);
    CHECK(cyborg_names_count(NULL) == 0 && cyborg_names_at(NULL, 0, &len) == NULL && len == 0);
    CHECK(cyborg_names_at(NULL, 0, NULL) == NULL);
    CHECK(cyborg_items_count(NULL) == 0 && cyborg_items_found(NULL, 0) == 0);
    CHECK(cyborg_items_id(NULL, 0, &len) == NULL && cyborg_items_id(NULL, 0, NULL) == NULL);
    CHECK(cyborg_items_id_u64(NULL, 0) == 0 && cyborg_items_metadata(NULL, 0, &len) == NULL);
    CHECK(cyborg_items_contents(NULL, 0, &len, &kind) == NULL && kind == CYBORG_CONTENTS_NONE);
    CHECK(cyborg_items_contents(NULL, 0, NULL, NULL) == NULL && cyborg_items_vector(NULL, 0) == NULL);
    CHECK(cyborg_results_queries(NULL) == 0 && cyborg_results_count(NULL, 0) == 0);
    CHECK(cyborg_results_id(NULL, 0, 0, &len) == NULL && cyborg_results_id_u64(NULL, 0, 0) == 0);
    CHECK(isnan(cyborg_results_distance(NULL, 0, 0)) && cyborg_results_metadata(NULL, 0, 0, &len) == NULL);
    CHECK(cyborg_results_contents(NULL, 0, 0, &len, &kind) == NULL && cyborg_results_vector(NULL, 0, 0) == NULL);
    cyborg_columns columns = CYBORG_COLUMNS_INIT;
    cyborg_query_stats stats = CYBORG_QUERY_STATS_INIT;
    EXPECT(NULL_ARGUMENT, cyborg_items_columns(NULL, &columns, &err));
    EXPECT(NULL_ARGUMENT, cyborg_results_columns(NULL, &columns, &err));
    EXPECT(NULL_ARGUMENT, cyborg_results_stats(NULL, 0, &stats, &err));
}

static void frees(void) {
    cyborg_error_free(NULL);
    cyborg_names_free(NULL);
    cyborg_items_free(NULL);
    cyborg_results_free(NULL);
    cyborg_cursor_free(NULL);
    cyborg_cancel_free(NULL);
    cyborg_training_free(NULL);
    cyborg_index_free(NULL);
    cyborg_db_free(NULL);
}

static void db_functions(cyborg_db *db) {
    cyborg_db *none = (cyborg_db *)&none;
    cyborg_names *names = (cyborg_names *)&names;
    cyborg_index *index = (cyborg_index *)&index;
    EXPECT(NULL_ARGUMENT, cyborg_db_open(NULL, NULL, &none, &err));
    CHECK(none == NULL);
    EXPECT(NULL_ARGUMENT, cyborg_db_open("memory:", NULL, NULL, &err));
    CHECK(cyborg_db_open(NULL, NULL, NULL, NULL) == CYBORG_STATUS_NULL_ARGUMENT);
    EXPECT(NULL_ARGUMENT, cyborg_db_close(NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_db_list_indexes(NULL, &names, &err));
    CHECK(names == NULL);
    EXPECT(NULL_ARGUMENT, cyborg_db_list_indexes(db, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_db_training_status(NULL, &names, &err));
    EXPECT(NULL_ARGUMENT, cyborg_db_training_status(db, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_db_drop_index(NULL, "x", KEY, 32, &err));
    EXPECT(NULL_ARGUMENT, cyborg_db_drop_index(db, NULL, KEY, 32, &err));
    EXPECT(NULL_ARGUMENT, cyborg_db_drop_index(db, "x", NULL, 32, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_create(NULL, "x", KEY, 32, NULL, &index, &err));
    CHECK(index == NULL);
    EXPECT(NULL_ARGUMENT, cyborg_index_create(db, NULL, KEY, 32, NULL, &index, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_create(db, "x", NULL, 32, NULL, &index, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_create(db, "x", KEY, 32, NULL, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_open(NULL, "x", KEY, 32, NULL, &index, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_open(db, NULL, KEY, 32, NULL, &index, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_open(db, "x", NULL, 32, NULL, &index, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_open(db, "x", KEY, 32, NULL, NULL, &err));
    OK(cyborg_db_list_indexes(db, &names, &err));
    CHECK(cyborg_names_count(names) == 0); /* none of the refused calls made an index */
    cyborg_names_free(names);
}

static void index_functions(cyborg_index *index) {
    float v[4] = {1, 2, 3, 4};
    uint64_t ids[2] = {1, 2}, n = 0;
    uint32_t flag = 0, counts[2];
    uint8_t found[2];
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    cyborg_index_stats_info stats = CYBORG_INDEX_STATS_INFO_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT, broken;
    cyborg_ids some = CYBORG_IDS_INIT;
    cyborg_items *items = NULL;
    cyborg_cursor *cursor = NULL;
    cyborg_results *results = NULL;
    cyborg_training *job = NULL;
    batch.count = 2;
    batch.dimension = 2;
    batch.vectors = v;
    batch.id_numbers = ids;
    some.count = 2;
    some.id_numbers = ids;

    EXPECT(NULL_ARGUMENT, cyborg_index_describe(NULL, &info, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_describe(index, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_stats(NULL, &stats, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_stats(index, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_count(NULL, &n, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_count(index, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_is_training(NULL, &flag, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_is_training(index, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_training(index, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_is_trained(NULL, &flag, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_is_trained(index, NULL, &err));

    EXPECT(NULL_ARGUMENT, cyborg_index_upsert(NULL, &batch, NULL, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert(index, NULL, NULL, NULL, &err));
    broken = batch, broken.vectors = NULL;
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert(index, &broken, NULL, NULL, &err));
    broken = batch, broken.id_numbers = NULL;
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert(index, &broken, NULL, NULL, &err));
    broken = batch, broken.metadata = "{}{}", broken.metadata_len = 4;
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert(index, &broken, NULL, NULL, &err));
    broken = batch, broken.contents = (const uint8_t *)"ab", broken.contents_len = 2;
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert(index, &broken, NULL, NULL, &err));
    uint64_t offsets[3] = {0, 1, 2};
    broken = batch, broken.contents_len = 2, broken.contents_offsets = offsets;
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert(index, &broken, NULL, NULL, &err));
    broken = batch, broken.vectors = NULL;
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert_base64(NULL, &broken, "", 0, NULL, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert_base64(index, NULL, "", 0, NULL, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_upsert_base64(index, &broken, NULL, 24, NULL, NULL, &err));

    EXPECT(NULL_ARGUMENT, cyborg_index_get(NULL, &some, 0, &items, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_get(index, NULL, 0, &items, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_get(index, &some, 0, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_contains(NULL, &some, found, 2, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_contains(index, NULL, found, 2, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_contains(index, &some, NULL, 2, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_delete(NULL, &some, &n, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_delete(index, NULL, &n, &err));
    some.id_numbers = NULL;
    EXPECT(NULL_ARGUMENT, cyborg_index_get(index, &some, 0, &items, &err));
    CHECK(items == NULL);
    EXPECT(NULL_ARGUMENT, cyborg_index_list_ids(NULL, &cursor, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_list_ids(index, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_cursor_next(NULL, 1, &items, &err));
    OK(cyborg_index_list_ids(index, &cursor, &err));
    EXPECT(NULL_ARGUMENT, cyborg_cursor_next(cursor, 1, NULL, &err));
    cyborg_cursor_free(cursor);

    EXPECT(NULL_ARGUMENT, cyborg_index_query(NULL, v, 1, 2, NULL, NULL, &results, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_query(index, NULL, 1, 2, NULL, NULL, &results, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_query(index, v, 1, 2, NULL, NULL, NULL, &err));
    uint64_t out_ids[200];
    EXPECT(NULL_ARGUMENT, cyborg_index_query_into(NULL, v, 1, 2, NULL, NULL, out_ids, NULL, counts, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_query_into(index, NULL, 1, 2, NULL, NULL, out_ids, NULL, counts, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_query_into(index, v, 1, 2, NULL, NULL, NULL, NULL, counts, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_query_into(index, v, 1, 2, NULL, NULL, out_ids, NULL, NULL, &err));

    EXPECT(NULL_ARGUMENT, cyborg_index_train(NULL, NULL, NULL, &job, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_compact(NULL, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_verify(NULL, NULL, &err));
    CHECK(count_of(index) == 0);
}

static void job_functions(cyborg_index *index) {
    cyborg_training_progress progress = CYBORG_TRAINING_PROGRESS_INIT;
    cyborg_training_state state = 0;
    cyborg_training *job = NULL;
    EXPECT(NULL_ARGUMENT, cyborg_training_poll(NULL, &progress, &err));
    EXPECT(NULL_ARGUMENT, cyborg_training_wait(NULL, 0, &state, &err));
    EXPECT(NULL_ARGUMENT, cyborg_training_result(NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_training_cancel(NULL, &err));
    fill_u64(index, 0, 64, 2);
    OK(cyborg_index_train(index, NULL, NULL, &job, &err));
    EXPECT(NULL_ARGUMENT, cyborg_training_poll(job, NULL, &err));
    OK(cyborg_training_wait(job, CYBORG_WAIT_FOREVER, NULL, &err));
    OK(cyborg_training_result(job, &err));
    cyborg_training_free(job);
}

static void token_functions(void) {
    cyborg_cancel *cancel = NULL;
    uint32_t set = 7;
    EXPECT(NULL_ARGUMENT, cyborg_cancel_create(NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_cancel_set(NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_cancel_is_set(NULL, &set, &err));
    OK(cyborg_cancel_create(&cancel, &err));
    EXPECT(NULL_ARGUMENT, cyborg_cancel_is_set(cancel, NULL, &err));
    OK(cyborg_cancel_is_set(cancel, &set, &err));
    CHECK(set == 0);
    OK(cyborg_cancel_set(cancel, &err));
    OK(cyborg_cancel_set(cancel, &err));
    OK(cyborg_cancel_is_set(cancel, &set, &err));
    CHECK(set == 1);
    cyborg_cancel_free(cancel);
}

int main(void) {
    accessors();
    frees();
    token_functions();
    cyborg_db *db = open_memory();
    db_functions(db);
    cyborg_index *index = create_u64(db, "index", 2);
    index_functions(index);
    job_functions(index);
    cyborg_index_free(index);
    cyborg_db_free(db);
    return 0;
}
