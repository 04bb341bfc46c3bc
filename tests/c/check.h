/*
 * What all C tests share. A test is a main program that prints nothing and returns 0 when all is well; the first thing
 * that is not as it should be ends it with one line that says where and why.
 */
#ifndef CHECK_H
#define CHECK_H

#include <cyborg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Expects `call`, which passes &err, to return CYBORG_STATUS_<expected>; the error object must agree. */
#define EXPECT(expected, call)                                                                                         \
    do {                                                                                                               \
        cyborg_error *err = NULL;                                                                                      \
        cyborg_status got = (call);                                                                                    \
        if (got != CYBORG_STATUS_##expected || cyborg_error_status(err) != got || (got == 0) != (err == NULL)) {       \
            fprintf(stderr, "%s:%d: expected %s, got %s (%s): %s\n", __FILE__, __LINE__, #expected,                    \
                    cyborg_status_name(got), cyborg_error_message(err), #call);                                        \
            exit(1);                                                                                                   \
        }                                                                                                              \
        check_error(err);                                                                                              \
        cyborg_error_free(err);                                                                                        \
    } while (0)

/* Like EXPECT, and the error is about item `i` of the batch. */
#define EXPECT_ITEM(expected, i, call)                                                                                 \
    do {                                                                                                               \
        cyborg_error *first = NULL;                                                                                    \
        {                                                                                                              \
            cyborg_error *err = NULL;                                                                                  \
            CHECK((call) == CYBORG_STATUS_##expected);                                                                 \
            first = err;                                                                                               \
        }                                                                                                              \
        if (cyborg_error_item_index(first) != (i)) {                                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, cyborg_error_message(first));                           \
            exit(1);                                                                                                   \
        }                                                                                                              \
        cyborg_error_free(first);                                                                                      \
    } while (0)

#define OK(call) EXPECT(OK, call)

/* Every message is one non-empty line and every error has a category. */
static inline void check_error(const cyborg_error *err) {
    if (err != NULL) {
        const char *message = cyborg_error_message(err);
        CHECK(message[0] != '\0' && strchr(message, '\n') == NULL);
        CHECK(cyborg_error_category(err) >= CYBORG_CATEGORY_INPUT && cyborg_error_category(err) <= CYBORG_CATEGORY_SECURITY);
        CHECK(cyborg_status_http(cyborg_error_status(err)) >= 400);
    }
}

static const uint8_t KEY[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                                17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
static const uint8_t OTHER_KEY[32] = {32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
                                      16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1};

static inline cyborg_db *open_memory(void) {
    cyborg_db *db = NULL;
    cyborg_db_options options = CYBORG_DB_OPTIONS_INIT;
    options.threads = 2;
    OK(cyborg_db_open("memory:", &options, &db, &err));
    CHECK(db != NULL);
    return db;
}

/* An index of numbers as ids that never trains by itself. */
static inline cyborg_index *create_u64(cyborg_db *db, const char *name, uint32_t dimension) {
    cyborg_index *index = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.dimension = dimension;
    options.id_kind = CYBORG_ID_KIND_U64;
    options.auto_train_disabled = 1;
    OK(cyborg_index_create(db, name, KEY, sizeof KEY, &options, &index, &err));
    CHECK(index != NULL);
    return index;
}

/* An index of byte strings as ids. */
static inline cyborg_index *create_bytes(cyborg_db *db, const char *name, uint32_t dimension) {
    cyborg_index *index = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.dimension = dimension;
    OK(cyborg_index_create(db, name, KEY, sizeof KEY, &options, &index, &err));
    CHECK(index != NULL);
    return index;
}

/* Numbers between -1 and 1 that are the same in every run. */
static inline float noise(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

static inline float *random_vectors(size_t count, uint32_t dimension, uint64_t seed) {
    float *vectors = malloc(count * dimension * sizeof(float));
    CHECK(vectors != NULL);
    for (size_t i = 0; i < count * dimension; i++) {
        vectors[i] = noise(&seed);
    }
    return vectors;
}

/* Upserts `count` random vectors under the ids first, first + 1, ... */
static inline void fill_u64(cyborg_index *index, uint64_t first, size_t count, uint32_t dimension) {
    float *vectors = random_vectors(count, dimension, first + 1);
    uint64_t *ids = malloc(count * sizeof(uint64_t));
    CHECK(ids != NULL);
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
    }
    cyborg_batch batch = CYBORG_BATCH_INIT;
    batch.count = count;
    batch.dimension = dimension;
    batch.vectors = vectors;
    batch.id_numbers = ids;
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    free(ids);
    free(vectors);
}

static inline uint64_t count_of(const cyborg_index *index) {
    uint64_t count = 0;
    OK(cyborg_index_count(index, &count, &err));
    return count;
}

#endif
