/* A program may end at any moment without freeing anything: here while a training job, queries and upserts are at work. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>
#include <time.h>

enum { DIM = 16 };

static void *query(void *index) {
    float q[DIM] = {1};
    for (;;) {
        cyborg_results *results = NULL;
        CHECK(cyborg_index_query(index, q, 1, DIM, NULL, NULL, &results, NULL) == CYBORG_STATUS_OK);
        cyborg_results_free(results);
    }
    return NULL;
}

static void *upsert(void *index) {
    for (uint64_t first = 10000;; first += 20) {
        fill_u64(index, first, 20, DIM);
    }
    return NULL;
}

int main(void) {
    static cyborg_db *db;
    static cyborg_index *index;
    static cyborg_training *job;
    static pthread_t threads[2];
    db = open_memory();
    index = create_u64(db, "index", DIM);
    fill_u64(index, 0, 4000, DIM);
    OK(cyborg_index_train(index, NULL, NULL, &job, &err));
    CHECK(pthread_create(&threads[0], NULL, query, index) == 0);
    CHECK(pthread_create(&threads[1], NULL, upsert, index) == 0);
    struct timespec pause = {0, 50000000};
    nanosleep(&pause, NULL);
    return 0;
}
