/*
 * Introduces: cyborg_index_train, cyborg_training_poll, cyborg_training_wait, cyborg_training_result, cyborg_call.
 *
 * Starts a training job, queries while it runs, looks at its progress, waits for it; then trains again in the blocking
 * form with a deadline.
 */
#include <cyborg.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 20000, DIMENSION = 32 };

static int failed(cyborg_status status, cyborg_error *error) {
    if (status != CYBORG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", cyborg_status_name(status), cyborg_error_message(error));
        cyborg_error_free(error);
    }
    return status != CYBORG_STATUS_OK;
}

/* Random vectors around 50 centres, with the numbers from 0 as ids. */
static int fill(cyborg_index *index, float *vectors, uint64_t *ids) {
    cyborg_error *error = NULL;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    uint32_t state = 1;
    for (size_t i = 0; i < (size_t)COUNT * DIMENSION; i++) {
        const size_t centre = (i / DIMENSION) % 50, j = i % DIMENSION;
        state = state * 1664525u + 1013904223u;
        vectors[i] = (float)((centre * 31 + j * 17) % 7) + (float)(state >> 8) / 16777216.0f;
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        ids[i] = i;
    }
    batch.count = COUNT;
    batch.dimension = DIMENSION;
    batch.vectors = vectors;
    batch.id_numbers = ids;
    return failed(cyborg_index_upsert(index, &batch, NULL, NULL, &error), error);
}

static int train_in_background(cyborg_index *index, const float *query) {
    cyborg_error *error = NULL;
    cyborg_training *job = NULL;
    cyborg_training_progress progress = CYBORG_TRAINING_PROGRESS_INIT;
    cyborg_training_state state = 0;
    unsigned long answered = 0;
    int bad = failed(cyborg_index_train(index, NULL, NULL, &job, &error), error); /* returns at once */
    while (!bad) {
        uint64_t ids[10];
        uint32_t found = 0;
        cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
        options.top_k = 10;
        bad = failed(cyborg_index_query_into(index, query, 1, DIMENSION, &options, NULL, ids, NULL, &found, &error), error) ||
              failed(cyborg_training_wait(job, 0, &state, &error), error); /* a look, without waiting */
        answered++;
        if (state != CYBORG_TRAINING_QUEUED && state != CYBORG_TRAINING_RUNNING) {
            break;
        }
    }
    bad = bad || failed(cyborg_training_poll(job, &progress, &error), error) ||
          failed(cyborg_training_result(job, &error), error); /* how it ended */
    if (!bad) {
        fprintf(stderr, "%lu queries while training for %lu ms\n", answered, (unsigned long)progress.elapsed_ms);
        printf("trained in the background\n");
    }
    cyborg_training_free(job); /* would neither stop nor wait for it */
    return bad;
}

static void show(void *user, const cyborg_training_progress *progress) {
    (void)user;
    fprintf(stderr, "phase %d of %d: %lu of %lu\n", (int)progress->phase, CYBORG_PHASE_PUBLISHING,
            (unsigned long)progress->done, (unsigned long)progress->total);
}

static int train_and_wait(cyborg_index *index) {
    cyborg_error *error = NULL;
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    cyborg_train_options options = CYBORG_TRAIN_OPTIONS_INIT;
    cyborg_call call = CYBORG_CALL_INIT;
    options.n_lists = 100;
    call.deadline_ms = 60000;
    call.progress = show; /* called on this thread */
    if (failed(cyborg_index_train(index, &options, &call, NULL, &error), error) ||
        failed(cyborg_index_describe(index, &info, &error), error)) {
        return 1;
    }
    printf("generation %lu has %u lists\n", (unsigned long)info.generation, (unsigned)info.n_lists);
    return 0;
}

int main(void) {
    static const uint8_t key[CYBORG_KEY_LEN] = "an example: take random bytes!!";
    cyborg_db *db = NULL;
    cyborg_index *index = NULL;
    cyborg_error *error = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    float *vectors = malloc(sizeof(float) * COUNT * DIMENSION);
    uint64_t *ids = malloc(sizeof(uint64_t) * COUNT);
    options.id_kind = CYBORG_ID_KIND_U64;
    options.auto_train_disabled = 1; /* otherwise the upsert below would start a job by itself */
    const int bad = vectors == NULL || ids == NULL ||
                    failed(cyborg_db_open("memory:", NULL, &db, &error), error) ||
                    failed(cyborg_index_create(db, "index", key, sizeof key, &options, &index, &error), error) ||
                    fill(index, vectors, ids) || train_in_background(index, vectors) || train_and_wait(index);
    cyborg_index_free(index);
    cyborg_db_free(db);
    free(ids);
    free(vectors);
    return bad;
}
