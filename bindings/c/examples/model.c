/*
 * Introduces: cyborg_model_train, cyborg_model_wait, cyborg_model_info, cyborg_model_export, cyborg_model_import,
 * cyborg_index_options.model_id.
 *
 * Trains a model from one index, looks at its record, makes an index that is trained from birth, and carries the model
 * to another store under another key.
 */
#include <cyborg.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 10000, DIMENSION = 16 };

static const uint8_t index_key[CYBORG_KEY_LEN] = "an example: take random bytes!!";
static const uint8_t model_key[CYBORG_KEY_LEN] = "the model has a key of its own!";
static const uint8_t package_key[CYBORG_KEY_LEN] = "both ends of the way know this!";

static int failed(cyborg_status status, cyborg_error *error) {
    if (status != CYBORG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", cyborg_status_name(status), cyborg_error_message(error));
        cyborg_error_free(error);
    }
    return status != CYBORG_STATUS_OK;
}

/* Random vectors around 50 centres, with the numbers from 0 as ids. */
static int fill(cyborg_index *index, uint32_t seed) {
    float *vectors = malloc(sizeof(float) * COUNT * DIMENSION);
    uint64_t *ids = malloc(sizeof(uint64_t) * COUNT);
    cyborg_error *error = NULL;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    int bad = vectors == NULL || ids == NULL;
    for (size_t i = 0; !bad && i < (size_t)COUNT * DIMENSION; i++) {
        const size_t centre = (i / DIMENSION) % 50, j = i % DIMENSION;
        seed = seed * 1664525u + 1013904223u;
        vectors[i] = (float)((centre * 31 + j * 17) % 7) + (float)(seed >> 8) / 16777216.0f;
        ids[i / DIMENSION] = i / DIMENSION;
    }
    batch.count = COUNT;
    batch.dimension = DIMENSION;
    batch.vectors = vectors;
    batch.id_numbers = ids;
    bad = bad || failed(cyborg_index_upsert(index, &batch, NULL, NULL, &error), error);
    free(ids);
    free(vectors);
    return bad;
}

static int train(cyborg_db *db, cyborg_index *source) {
    cyborg_error *error = NULL;
    cyborg_model_state state = 0;
    cyborg_model_record *record = NULL;
    cyborg_model_details details = CYBORG_MODEL_DETAILS_INIT;
    cyborg_model_options options = CYBORG_MODEL_OPTIONS_INIT;
    options.n_lists = 100;
    options.quantizer = CYBORG_QUANTIZER_SQ;
    options.description = "clouds around 50 centres";
    /* Returns at once; the record is on the disk then. A last argument before the error would give it. */
    if (failed(cyborg_model_train(source, "clouds", model_key, sizeof model_key, &options, NULL, NULL, &error), error) ||
        failed(cyborg_model_wait(db, "clouds", model_key, sizeof model_key, CYBORG_WAIT_FOREVER, &state, &error), error) ||
        failed(cyborg_model_info(db, "clouds", model_key, sizeof model_key, &record, &error), error) ||
        failed(cyborg_model_record_details(record, &details, &error), error)) {
        return 1;
    }
    if (state == CYBORG_MODEL_STATE_FAILED) {
        fprintf(stderr, "the model has failed: %s\n", cyborg_model_record_error(record, NULL));
    }
    printf("model %s (%s): %u lists for %u dimensions\n", cyborg_model_record_id(record, NULL),
           cyborg_model_record_description(record, NULL), (unsigned)details.n_lists, (unsigned)details.dimension);
    cyborg_model_record_free(record);
    return state != CYBORG_MODEL_STATE_CREATED;
}

/* An index of the model: trained before it has its first item. */
static int use(cyborg_db *db, const uint8_t *key_of_model) {
    cyborg_error *error = NULL;
    cyborg_index *index = NULL;
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.id_kind = CYBORG_ID_KIND_U64;
    options.model_id = "clouds"; /* which says dimension, metric and quantizer */
    options.model_key = key_of_model;
    options.model_key_len = CYBORG_KEY_LEN;
    int bad = failed(cyborg_index_create(db, "made", index_key, sizeof index_key, &options, &index, &error), error) ||
              failed(cyborg_index_describe(index, &info, &error), error);
    if (!bad) {
        printf("%lu items, trained: %u, %u lists\n", (unsigned long)info.count, (unsigned)info.trained,
               (unsigned)info.n_lists);
        bad = fill(index, 2);
    }
    cyborg_index_free(index);
    return bad;
}

/* To another store: sealed under a key for the way, opened with it there, and sealed anew. */
static int carry(cyborg_db *db, cyborg_db *elsewhere) {
    cyborg_error *error = NULL;
    cyborg_model_package *package = NULL;
    size_t len = 0;
    if (failed(cyborg_model_export(db, "clouds", model_key, sizeof model_key, package_key, sizeof package_key, &package,
                                   &error),
               error)) {
        return 1;
    }
    const uint8_t *data = cyborg_model_package_data(package, &len);
    fprintf(stderr, "a package of %lu bytes\n", (unsigned long)len);
    const int bad = failed(cyborg_model_import(elsewhere, data, len, package_key, sizeof package_key, NULL, index_key,
                                               sizeof index_key, NULL, &error),
                           error);
    cyborg_model_package_free(package);
    return bad;
}

int main(void) {
    cyborg_db *db = NULL, *elsewhere = NULL;
    cyborg_index *source = NULL;
    cyborg_error *error = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.id_kind = CYBORG_ID_KIND_U64;
    options.auto_train_disabled = 1; /* its own training is not needed here */
    int bad = failed(cyborg_db_open("memory:", NULL, &db, &error), error) ||
              failed(cyborg_db_open("memory:", NULL, &elsewhere, &error), error) ||
              failed(cyborg_index_create(db, "source", index_key, sizeof index_key, &options, &source, &error), error) ||
              fill(source, 1) || train(db, source) || use(db, model_key) || carry(db, elsewhere) ||
              use(elsewhere, index_key);
    if (!bad) {
        /* In use: the error names the index. Once that is dropped, the model may go. */
        error = NULL;
        bad = cyborg_model_delete(db, "clouds", model_key, sizeof model_key, 0, &error) != CYBORG_STATUS_CONFLICT;
        printf("%s\n", cyborg_error_message(error));
        cyborg_error_free(error);
        bad = bad || failed(cyborg_db_drop_index(db, "made", index_key, sizeof index_key, &error), error) ||
              failed(cyborg_model_delete(db, "clouds", model_key, sizeof model_key, 0, &error), error);
    }
    cyborg_index_free(source);
    cyborg_db_free(db);
    cyborg_db_free(elsewhere);
    return bad;
}
