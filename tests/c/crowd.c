/* 64 threads on one db: each call gives what it must or a status that its moment allows; at the end the count is exact. */
#include "check.h"
#include <pthread.h>

enum { THREADS = 64, ROUNDS = 6, BATCH = 10, DIM = 8 };

static cyborg_db *db;
static cyborg_index *shared;
static cyborg_cancel *token;

static void upsert(uint64_t first) {
    float *vectors = random_vectors(BATCH, DIM, first + 1);
    uint64_t ids[BATCH];
    for (uint64_t i = 0; i < BATCH; i++) {
        ids[i] = first + i;
    }
    cyborg_batch batch = CYBORG_BATCH_INIT;
    batch.count = BATCH, batch.dimension = DIM, batch.vectors = vectors, batch.id_numbers = ids;
    OK(cyborg_index_upsert(shared, &batch, NULL, NULL, &err));
    cyborg_ids mine = CYBORG_IDS_INIT;
    mine.count = BATCH, mine.id_numbers = ids;
    cyborg_items *items = NULL;
    OK(cyborg_index_get(shared, &mine, CYBORG_INCLUDE_VECTOR, &items, &err)); /* seen at once */
    for (size_t i = 0; i < BATCH; i++) {
        CHECK(cyborg_items_found(items, i) == 1);
        CHECK(memcmp(cyborg_items_vector(items, i), vectors + i * DIM, DIM * sizeof(float)) == 0);
    }
    cyborg_items_free(items);
    mine.count = BATCH / 2;
    uint64_t deleted = 0;
    OK(cyborg_index_delete(shared, &mine, &deleted, &err));
    CHECK(deleted == BATCH / 2);
    free(vectors);
}

static void query(void) {
    float q[DIM] = {0.5f};
    cyborg_results *results = NULL;
    OK(cyborg_index_query(shared, q, 1, DIM, NULL, NULL, &results, &err));
    for (size_t rank = 1; rank < cyborg_results_count(results, 0); rank++) {
        CHECK(cyborg_results_id_u64(results, 0, rank) != cyborg_results_id_u64(results, 0, rank - 1));
    }
    cyborg_results_free(results);
}

static void train(void) {
    cyborg_training *job = NULL;
    cyborg_status status = cyborg_index_train(shared, NULL, NULL, &job, NULL);
    CHECK(status == CYBORG_STATUS_OK || status == CYBORG_STATUS_TRAINING_IN_PROGRESS ||
          status == CYBORG_STATUS_INSUFFICIENT_VECTORS);
    CHECK((status == CYBORG_STATUS_OK) == (job != NULL));
    if (job != NULL) {
        OK(cyborg_training_cancel(job, &err));
        cyborg_training_free(job);
    }
}

static void reopen(void) {
    cyborg_index *mine = NULL;
    cyborg_call call = CYBORG_CALL_INIT;
    call.cancel = token;
    OK(cyborg_index_open(db, "crowd", KEY, 32, NULL, &mine, &err));
    EXPECT(CANCELLED, cyborg_index_verify(mine, &call, &err));
    cyborg_index_free(mine);
    EXPECT(INVALID_HANDLE, cyborg_index_verify(mine, &call, &err));
}

static void *work(void *argument) {
    const uint64_t me = (uint64_t)(uintptr_t)argument;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        upsert((me * ROUNDS + round) * BATCH);
        query();
        if (me % 8 == 0) {
            train();
        }
        reopen();
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    db = open_memory();
    shared = create_u64(db, "crowd", DIM);
    OK(cyborg_cancel_create(&token, &err));
    OK(cyborg_cancel_set(token, &err));
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(count_of(shared) == THREADS * ROUNDS * (BATCH - BATCH / 2));
    OK(cyborg_index_verify(shared, NULL, &err));
    cyborg_cancel_free(token);
    cyborg_index_free(shared);
    cyborg_db_free(db);
    return 0;
}
