/* Training: blocking and in the background, its limits, progress, cancellation, deadline, and by itself. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <time.h>

enum { N = 4000, DIM = 16 };

static uint32_t is_training(const cyborg_index *index) {
    uint32_t flag = 9;
    OK(cyborg_index_is_training(index, &flag, &err));
    return flag;
}

static uint32_t is_trained(const cyborg_index *index) {
    uint32_t flag = 9;
    OK(cyborg_index_is_trained(index, &flag, &err));
    return flag;
}

static size_t names_in_training(cyborg_db *db) {
    cyborg_names *names = NULL;
    OK(cyborg_db_training_status(db, &names, &err));
    size_t n = cyborg_names_count(names);
    CHECK(n == 0 || cyborg_names_at(names, 0, NULL)[0] != '\0');
    cyborg_names_free(names);
    return n;
}

static void too_few(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "few", DIM);
    EXPECT(INSUFFICIENT_VECTORS, cyborg_index_train(index, NULL, NULL, NULL, &err));
    fill_u64(index, 0, 19, DIM);
    cyborg_train_options options = CYBORG_TRAIN_OPTIONS_INIT;
    cyborg_training *job = NULL;
    options.n_lists = 10;
    cyborg_error *err = NULL;
    CHECK(cyborg_index_train(index, &options, NULL, &job, &err) == CYBORG_STATUS_INSUFFICIENT_VECTORS);
    CHECK(job == NULL && cyborg_error_needed(err) == 20 && cyborg_error_got(err) == 19);
    cyborg_error_free(err);
    CHECK(is_trained(index) == 0 && is_training(index) == 0 && names_in_training(db) == 0);
    options.n_lists = CYBORG_MAX_LISTS + 1;
    EXPECT(INVALID_ARGUMENT, cyborg_index_train(index, &options, NULL, NULL, &err));
    options.n_lists = 9;
    OK(cyborg_index_train(index, &options, NULL, NULL, &err));
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.trained == 1 && info.n_lists == 9 && info.generation == 1 && info.count == 19);
    cyborg_index_free(index);
}

static void bad_options(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "options", DIM);
    fill_u64(index, 0, 1000, DIM);
    cyborg_train_options options = CYBORG_TRAIN_OPTIONS_INIT;
    options.tolerance = -1;
    cyborg_error *err = NULL;
    cyborg_training *job = NULL;
    CHECK(cyborg_index_train(index, &options, NULL, &job, &err) == CYBORG_STATUS_INVALID_ARGUMENT && job == NULL);
    CHECK(strcmp(cyborg_error_field(err), "tolerance") == 0 && strcmp(cyborg_error_value(err), "-1") == 0);
    CHECK(strstr(cyborg_error_allowed(err), "0 or more") != NULL);
    cyborg_error_free(err);
    options.tolerance = 0, options.max_memory_mb = 1; /* more than that is needed */
    CHECK(cyborg_index_train(index, &options, NULL, &job, &err) == CYBORG_STATUS_NO_MEMORY && job == NULL);
    CHECK(cyborg_error_needed(err) > cyborg_error_got(err) && cyborg_error_got(err) == 1 << 20);
    CHECK(cyborg_error_field(err) == NULL && cyborg_error_value(err) == NULL && cyborg_error_allowed(NULL) == NULL);
    cyborg_error_free(err);
    options.max_memory_mb = 0;
    options.tolerance = NAN;
    EXPECT(INVALID_ARGUMENT, cyborg_index_train(index, &options, NULL, NULL, &err));
    CHECK(is_trained(index) == 0);
    cyborg_index_free(index);
}

struct seen {
    cyborg_index *index;
    uint32_t calls;
    int32_t last_state;
};

static void on_progress(void *user, const cyborg_training_progress *progress) {
    struct seen *seen = user;
    CHECK(progress->struct_size == sizeof *progress && progress->phase >= CYBORG_PHASE_QUEUED);
    CHECK(count_of(seen->index) == N); /* the callback may call the library */
    seen->calls++;
    seen->last_state = progress->state;
}

static void blocking(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "blocking", DIM);
    fill_u64(index, 0, N, DIM);
    struct seen seen = {index, 0, 0};
    cyborg_call call = CYBORG_CALL_INIT;
    call.progress = on_progress;
    call.user = &seen;
    OK(cyborg_index_train(index, NULL, &call, NULL, &err));
    CHECK(seen.calls > 0 && seen.last_state == CYBORG_TRAINING_TRAINED && is_trained(index) == 1);
    OK(cyborg_index_train(index, NULL, NULL, NULL, &err)); /* anew */
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.generation == 2 && info.count == N && info.training == 0 && info.n_lists > 1 && info.auto_probes > 0);

    float query[DIM] = {0};
    cyborg_query_options all = CYBORG_QUERY_OPTIONS_INIT;
    cyborg_results *results = NULL;
    all.n_probes = UINT32_MAX;
    OK(cyborg_index_query(index, query, 1, DIM, &all, NULL, &results, &err));
    CHECK(cyborg_results_count(results, 0) == CYBORG_DEFAULT_TOP_K);
    cyborg_results_free(results);
    cyborg_index_free(index);
}

/* A job long enough to be met at work. */
static cyborg_training *long_job(cyborg_index *index) {
    cyborg_training *job = NULL;
    cyborg_train_options options = CYBORG_TRAIN_OPTIONS_INIT;
    options.n_lists = N / 2;
    options.max_iters = 1000000;
    options.tolerance = 1e-300;
    OK(cyborg_index_train(index, &options, NULL, &job, &err));
    CHECK(job != NULL);
    return job;
}

static void background(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "background", DIM);
    fill_u64(index, 0, N, DIM);
    cyborg_training *job = long_job(index), *second = NULL;
    cyborg_status status = cyborg_index_train(index, NULL, NULL, &second, NULL);
    cyborg_training_state state = 0;
    OK(cyborg_training_wait(job, 0, &state, &err));
    if (state == CYBORG_TRAINING_QUEUED || state == CYBORG_TRAINING_RUNNING) {
        CHECK(status == CYBORG_STATUS_TRAINING_IN_PROGRESS && second == NULL);
        EXPECT(TRAINING_IN_PROGRESS, cyborg_training_result(job, &err));
    }
    fill_u64(index, N, 10, DIM); /* goes on meanwhile */
    cyborg_training_progress progress = CYBORG_TRAINING_PROGRESS_INIT;
    OK(cyborg_training_poll(job, &progress, &err));
    CHECK(progress.struct_size == sizeof progress && progress.state >= CYBORG_TRAINING_QUEUED);
    OK(cyborg_training_cancel(job, &err));
    OK(cyborg_training_cancel(job, &err));
    OK(cyborg_training_wait(job, CYBORG_WAIT_FOREVER, &state, &err));
    CHECK(state == CYBORG_TRAINING_CANCELLED || state == CYBORG_TRAINING_TRAINED);
    if (state == CYBORG_TRAINING_CANCELLED) {
        EXPECT(CANCELLED, cyborg_training_result(job, &err));
        CHECK(is_trained(index) == 0);
    }
    CHECK(is_training(index) == 0 && names_in_training(db) == 0 && count_of(index) == N + 10);
    cyborg_training_free(job);
    cyborg_training_free(second);

    job = long_job(index); /* freeing neither cancels nor waits */
    cyborg_training_free(job);
    cyborg_index_free(index);
}

/* Jobs of several indexes: in order, with places; a cancelled one leaves at once; closing ends them all. */
static void queue(void) {
    cyborg_db *db = open_memory();
    const char *const names[] = {"c", "a", "b"};
    cyborg_index *index[3];
    cyborg_training *job[3];
    for (int i = 0; i < 3; i++) {
        index[i] = create_u64(db, names[i], DIM);
        fill_u64(index[i], 0, N, DIM);
        job[i] = long_job(index[i]);
    }
    cyborg_training_list *list = NULL;
    OK(cyborg_db_training_jobs(db, &list, &err));
    size_t n = cyborg_training_list_count(list), len = 0;
    CHECK(n >= 2 && n <= 3); /* the first may have ended */
    for (size_t i = 0; i < n; i++) {
        CHECK(strcmp(cyborg_training_list_name(list, i, &len), names[3 - n + i]) == 0 && len == 1);
        CHECK(cyborg_training_list_kind(list, i) == CYBORG_TRAINING_KIND_INDEX);
        cyborg_training_progress progress = CYBORG_TRAINING_PROGRESS_INIT;
        OK(cyborg_training_list_progress(list, i, &progress, &err));
        const int runs = cyborg_training_list_place(list, i) == 0;
        CHECK(progress.state == (runs ? CYBORG_TRAINING_RUNNING : CYBORG_TRAINING_QUEUED) && (!runs || i == 0));
    }
    cyborg_training_progress progress = CYBORG_TRAINING_PROGRESS_INIT;
    EXPECT(INVALID_ARGUMENT, cyborg_training_list_progress(list, n, &progress, &err));
    EXPECT(NULL_ARGUMENT, cyborg_training_list_progress(list, 0, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_training_list_progress(NULL, 0, &progress, &err));
    CHECK(cyborg_training_list_name(list, n, &len) == NULL && len == 0 && cyborg_training_list_kind(list, n) == 0);
    CHECK(cyborg_training_list_count(NULL) == 0 && cyborg_training_list_place(NULL, 0) == 0);
    cyborg_training_list_free(list);
    cyborg_training_list_free(NULL);
    EXPECT(NULL_ARGUMENT, cyborg_db_training_jobs(db, NULL, &err));

    cyborg_training_state state = 0;
    OK(cyborg_training_cancel(job[2], &err));
    OK(cyborg_training_wait(job[2], 0, &state, &err));
    CHECK(state == CYBORG_TRAINING_CANCELLED || state == CYBORG_TRAINING_RUNNING);
    OK(cyborg_db_close(db, &err));
    for (int i = 0; i < 3; i++) { /* the handles are good for what was */
        OK(cyborg_training_wait(job[i], 0, &state, &err));
        CHECK(state == CYBORG_TRAINING_CANCELLED || state == CYBORG_TRAINING_TRAINED);
        if (state == CYBORG_TRAINING_CANCELLED) EXPECT(CANCELLED, cyborg_training_result(job[i], &err));
        cyborg_training_free(job[i]);
        cyborg_index_free(index[i]);
    }
    list = (cyborg_training_list *)&list;
    EXPECT(CLOSED, cyborg_db_training_jobs(db, &list, &err));
    CHECK(list == NULL);
    cyborg_db_free(db);
}

static void deadline(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "deadline", DIM);
    fill_u64(index, 0, N, DIM);
    cyborg_call call = CYBORG_CALL_INIT;
    cyborg_train_options options = CYBORG_TRAIN_OPTIONS_INIT;
    options.n_lists = N / 2;
    call.deadline_ms = 1;
    EXPECT(TIMEOUT, cyborg_index_train(index, &options, &call, NULL, &err));
    CHECK(is_trained(index) == 0 && is_training(index) == 0);
    options.max_memory_mb = 0;
    OK(cyborg_index_train(index, NULL, NULL, NULL, &err));
    cyborg_index_free(index);
}

static void by_itself(cyborg_db *db) {
    cyborg_index *index = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.id_kind = CYBORG_ID_KIND_U64;
    options.retrain_threshold = 500;
    OK(cyborg_index_create(db, "auto", KEY, 32, &options, &index, &err));
    fill_u64(index, 0, 500, DIM);
    CHECK(is_training(index) == 0 && is_trained(index) == 0); /* not passed yet */
    cyborg_training *job = (cyborg_training *)&job;
    EXPECT(NOT_FOUND, cyborg_index_training(index, &job, &err));
    CHECK(job == NULL);
    float *vectors = random_vectors(1, DIM, 3);
    uint64_t id = 500;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    cyborg_upsert_result result = CYBORG_UPSERT_RESULT_INIT;
    batch.count = 1, batch.dimension = DIM, batch.vectors = vectors, batch.id_numbers = &id;
    OK(cyborg_index_upsert(index, &batch, NULL, &result, &err));
    CHECK(result.training_triggered == 1 && result.vector_count == 501 && result.threshold == 500);
    char text[CYBORG_UPSERT_MESSAGE_LEN], cut[9];
    size_t length = cyborg_upsert_message(&result, text, sizeof text);
    CHECK(strcmp(text, "Training started (vectors: 501, threshold: 500)") == 0 && length == strlen(text));
    CHECK(cyborg_upsert_message(&result, cut, sizeof cut) == length && strcmp(cut, "Training") == 0);
    CHECK(cyborg_upsert_message(&result, NULL, 0) == length && cyborg_upsert_message(NULL, cut, 1) == 0 && cut[0] == 0);
    result.vector_count = UINT64_MAX, result.threshold = UINT64_MAX;
    CHECK(cyborg_upsert_message(&result, NULL, 0) < CYBORG_UPSERT_MESSAGE_LEN);
    result.training_triggered = 0;
    CHECK(cyborg_upsert_message(&result, text, sizeof text) == 0 && text[0] == '\0');
    free(vectors);
    OK(cyborg_index_training(index, &job, &err));
    OK(cyborg_training_wait(job, CYBORG_WAIT_FOREVER, NULL, &err));
    OK(cyborg_training_result(job, &err));
    cyborg_training_free(job);
    CHECK(is_trained(index) == 1);
    cyborg_index_free(index);
}

int main(void) {
    cyborg_db *db = open_memory();
    too_few(db);
    bad_options(db);
    blocking(db);
    background(db);
    queue();
    deadline(db);
    by_itself(db);
    cyborg_db_free(db);
    return 0;
}
