/* Closing a db while other threads query, upsert and train: every call finishes or gives CLOSED, and nothing hangs. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>
#include <time.h>

enum { DIM = 8, N = 2000 };

static void *query(void *index) {
    float q[DIM] = {1};
    for (;;) {
        cyborg_results *results = NULL;
        cyborg_status status = cyborg_index_query(index, q, 1, DIM, NULL, NULL, &results, NULL);
        cyborg_results_free(results);
        if (status != CYBORG_STATUS_OK) {
            CHECK(status == CYBORG_STATUS_CLOSED && results == NULL);
            return NULL;
        }
    }
}

static void *upsert(void *index) {
    float *v = random_vectors(50, DIM, 4);
    uint64_t ids[50];
    cyborg_status status = CYBORG_STATUS_OK;
    for (uint64_t first = N; status == CYBORG_STATUS_OK; first += 50) {
        for (uint64_t i = 0; i < 50; i++) {
            ids[i] = first + i;
        }
        cyborg_batch batch = CYBORG_BATCH_INIT;
        batch.count = 50, batch.dimension = DIM, batch.vectors = v, batch.id_numbers = ids;
        status = cyborg_index_upsert(index, &batch, NULL, NULL, NULL);
    }
    CHECK(status == CYBORG_STATUS_CLOSED);
    free(v);
    return NULL;
}

static void *train(void *index) {
    cyborg_status status = CYBORG_STATUS_OK;
    while (status == CYBORG_STATUS_OK) {
        status = cyborg_index_train(index, NULL, NULL, NULL, NULL);
    }
    CHECK(status == CYBORG_STATUS_CLOSED || status == CYBORG_STATUS_CANCELLED);
    return NULL;
}

int main(void) {
    for (int round = 0; round < 3; round++) {
        cyborg_db *db = open_memory();
        cyborg_index *index = create_u64(db, "index", DIM);
        fill_u64(index, 0, N, DIM);
        pthread_t threads[4];
        void *(*work[4])(void *) = {query, query, upsert, train};
        for (int i = 0; i < 4; i++) {
            CHECK(pthread_create(&threads[i], NULL, work[i], index) == 0);
        }
        struct timespec pause = {0, 30000000L * (round + 1)};
        nanosleep(&pause, NULL);
        OK(cyborg_db_close(db, &err));
        for (int i = 0; i < 4; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        }
        OK(cyborg_db_close(db, &err));
        uint64_t n = 0;
        cyborg_names *names = NULL;
        cyborg_index *none = NULL;
        EXPECT(CLOSED, cyborg_index_count(index, &n, &err));
        EXPECT(CLOSED, cyborg_db_list_indexes(db, &names, &err));
        EXPECT(CLOSED, cyborg_index_open(db, "index", KEY, 32, NULL, &none, &err));
        cyborg_index_free(index);
        cyborg_db_free(db);
    }
    return 0;
}
