/* Stale, twice-freed, foreign and invented handles are errors; handles may be freed in any order and at any moment. */
#include "check.h"
#include <pthread.h>

static void every_call_on(cyborg_index *bad) {
    uint64_t n = 0;
    uint32_t flag = 0;
    float v[2] = {0, 0};
    cyborg_results *results = (cyborg_results *)&results;
    cyborg_ids ids = CYBORG_IDS_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    cyborg_items *items = NULL;
    cyborg_cursor *cursor = NULL;
    cyborg_training *job = NULL;
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    EXPECT(INVALID_HANDLE, cyborg_index_count(bad, &n, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_describe(bad, &info, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_is_trained(bad, &flag, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_is_training(bad, &flag, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_training(bad, &job, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_upsert(bad, &batch, NULL, NULL, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_get(bad, &ids, 0, &items, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_delete(bad, &ids, &n, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_list_ids(bad, &cursor, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_query(bad, v, 1, 2, NULL, NULL, &results, &err));
    CHECK(results == NULL);
    EXPECT(INVALID_HANDLE, cyborg_index_train(bad, NULL, NULL, &job, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_compact(bad, NULL, &err));
    EXPECT(INVALID_HANDLE, cyborg_index_verify(bad, NULL, &err));
    cyborg_index_free(bad);
}

static void stale_and_foreign(void) {
    cyborg_db *db = open_memory();
    cyborg_index *index = create_u64(db, "index", 2);
    cyborg_cancel *cancel = NULL;
    OK(cyborg_cancel_create(&cancel, &err));
    int local = 0;
    every_call_on((cyborg_index *)db);
    every_call_on((cyborg_index *)cancel);
    every_call_on((cyborg_index *)&local);
    every_call_on((cyborg_index *)(uintptr_t)1);
    every_call_on((cyborg_index *)UINTPTR_MAX);
    every_call_on((cyborg_index *)((uintptr_t)index ^ 2));
    every_call_on((cyborg_index *)((uintptr_t)index ^ ((uintptr_t)1 << 40)));
    CHECK(count_of(index) == 0); /* none of the frees above reached it */

    cyborg_index_free(index);
    every_call_on(index);
    cyborg_index_free(index);
    cyborg_index *again = create_u64(db, "another", 2);
    CHECK(again != index); /* the place in the table is used again, the handle is not */
    every_call_on(index);
    CHECK(count_of(again) == 0);

    cyborg_call call = CYBORG_CALL_INIT;
    call.cancel = cancel;
    OK(cyborg_index_verify(again, &call, &err));
    cyborg_cancel_free(cancel);
    EXPECT(INVALID_HANDLE, cyborg_index_verify(again, &call, &err));
    EXPECT(INVALID_HANDLE, cyborg_cancel_set(cancel, &err));
    cyborg_cancel_free(cancel);

    cyborg_index_free(again);
    cyborg_db_free(db);
    cyborg_db_free(db);
    cyborg_names *names = NULL;
    EXPECT(INVALID_HANDLE, cyborg_db_list_indexes(db, &names, &err));
    EXPECT(INVALID_HANDLE, cyborg_db_close(db, &err));
}

static void any_order(void) {
    cyborg_db *db = open_memory();
    cyborg_index *index = create_u64(db, "index", 2);
    fill_u64(index, 0, 100, 2);
    cyborg_training *job = NULL;
    cyborg_cursor *cursor = NULL;
    cyborg_items *items = NULL;
    OK(cyborg_index_train(index, NULL, NULL, &job, &err));
    OK(cyborg_index_list_ids(index, &cursor, &err));
    cyborg_db_free(db); /* children keep it alive */
    CHECK(count_of(index) == 100);
    cyborg_index_free(index);
    OK(cyborg_cursor_next(cursor, 0, &items, &err));
    CHECK(cyborg_items_count(items) == 100);
    cyborg_training_state state = 0;
    OK(cyborg_training_wait(job, CYBORG_WAIT_FOREVER, &state, &err));
    CHECK(state == CYBORG_TRAINING_TRAINED);
    cyborg_training_free(job);
    cyborg_training_free(job);
    EXPECT(INVALID_HANDLE, cyborg_training_cancel(job, &err));
    cyborg_cursor_free(cursor);
    CHECK(cyborg_items_id_u64(items, 99) == 99); /* items outlive every handle */
    cyborg_items_free(items);
}

/* Queries until the handle is gone. */
static void *query_until_freed(void *argument) {
    cyborg_index *index = argument;
    float query[8] = {1, 0, 0, 0, 0, 0, 0, 0};
    for (;;) {
        cyborg_results *results = NULL;
        cyborg_status status = cyborg_index_query(index, query, 1, 8, NULL, NULL, &results, NULL);
        if (status == CYBORG_STATUS_INVALID_HANDLE) {
            CHECK(results == NULL);
            return NULL;
        }
        CHECK(status == CYBORG_STATUS_OK && cyborg_results_count(results, 0) == 100);
        cyborg_results_free(results);
    }
}

static void free_during_calls(void) {
    for (int round = 0; round < 5; round++) {
        cyborg_db *db = open_memory();
        cyborg_index *index = create_u64(db, "index", 8);
        fill_u64(index, 0, 500, 8);
        pthread_t threads[4];
        for (int i = 0; i < 4; i++) {
            CHECK(pthread_create(&threads[i], NULL, query_until_freed, index) == 0);
        }
        cyborg_db_free(db);
        CHECK(count_of(index) == 500);
        cyborg_index_free(index);
        for (int i = 0; i < 4; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        }
    }
}

int main(void) {
    stale_and_foreign();
    any_order();
    free_during_calls();
    return 0;
}
