/* The log callback gets records, none of which holds data, and cannot call back. */
#include "check.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned records;
static cyborg_index *reentered;

static void on_log(void *user, cyborg_log_level level, const char *target, const char *message) {
    CHECK(user == &records && level >= CYBORG_LOG_ERROR && level <= CYBORG_LOG_INFO);
    CHECK(target[0] != '\0' && message[0] != '\0' && strchr(message, '\n') == NULL);
    CHECK(strstr(message, "canary") == NULL);
    uint64_t n = 0;
    EXPECT(CONFLICT, cyborg_index_count(reentered, &n, &err));
    CHECK(pthread_mutex_lock(&lock) == 0);
    records++;
    CHECK(pthread_mutex_unlock(&lock) == 0);
}

int main(void) {
    cyborg_db *db = NULL;
    cyborg_db_options options = CYBORG_DB_OPTIONS_INIT;
    options.log = on_log;
    options.log_user = &records;
    OK(cyborg_db_open("memory:", &options, &db, &err));
    cyborg_index *index = create_bytes(db, "index", 2);
    reentered = index;
    enum { N = 64 };
    float *vectors = random_vectors(N, 2, 1);
    uint8_t ids[N * 8];
    uint64_t offsets[N + 1], whole[N + 1];
    for (size_t i = 0; i < N; i++) {
        memcpy(ids + i * 8, "canary..", 8);
        ids[i * 8 + 7] = (uint8_t)i;
        offsets[i] = i * 8;
        whole[i] = 0;
    }
    offsets[N] = N * 8, whole[N] = 6;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    batch.count = N, batch.dimension = 2, batch.vectors = vectors;
    batch.ids = ids, batch.ids_len = sizeof ids, batch.id_offsets = offsets;
    batch.contents = (const uint8_t *)"canary", batch.contents_len = 6, batch.contents_offsets = whole;
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    OK(cyborg_index_train(index, NULL, NULL, NULL, &err));
    OK(cyborg_index_compact(index, NULL, &err));
    cyborg_index_free(index);
    cyborg_db_free(db);
    CHECK(records > 0);
    free(vectors);
    return 0;
}
