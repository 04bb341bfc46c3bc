/*
 * Introduces: cyborg_index_options, cyborg_results_columns, cyborg_index_verify on a store in a file.
 *
 *     semantic_search WORDS.BIN STORE [WORD]...
 *
 * Indexes 20,000 English words by meaning (cosine of their GloVe vectors) in the file STORE on the first run, and prints
 * the words nearest to each WORD from then on. The words are ids and contents; on disk there is only ciphertext.
 */
#include "words.h"
#include <cyborg.h>

static const uint8_t KEY[CYBORG_KEY_LEN] = "an example: take random bytes!!";

static int failed(cyborg_status status, cyborg_error *error) {
    if (status != CYBORG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", cyborg_status_name(status), cyborg_error_message(error));
        cyborg_error_free(error);
    }
    return status != CYBORG_STATUS_OK;
}

/* Makes the index and puts all words into it, in one durable batch. */
static int build(cyborg_db *db, const words *w, cyborg_index **index) {
    cyborg_error *error = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    options.dimension = w->dimension;
    options.metric = CYBORG_METRIC_COSINE;
    batch.count = w->count;
    batch.dimension = w->dimension;
    batch.vectors = w->vectors;
    batch.ids = (const uint8_t *)w->text;
    batch.ids_len = w->offsets[w->count];
    batch.id_offsets = w->offsets;
    /* 20,000 is past the default threshold: the upsert starts training in the background. */
    return failed(cyborg_index_create(db, "words", KEY, sizeof KEY, &options, index, &error), error) ||
           failed(cyborg_index_upsert(*index, &batch, NULL, NULL, &error), error);
}

/* Prints the words nearest to one of them. */
static int neighbours(cyborg_index *index, const words *w, const char *word) {
    cyborg_error *error = NULL;
    cyborg_results *results = NULL;
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    cyborg_columns columns = CYBORG_COLUMNS_INIT;
    const uint32_t i = words_find(w, word);
    if (i == w->count) {
        printf("%s: not among the %u words\n", word, (unsigned)w->count);
        return 0;
    }
    options.top_k = 9;
    options.include = CYBORG_INCLUDE_DISTANCE;
    if (failed(cyborg_index_query(index, words_vector(w, i), 1, w->dimension, &options, NULL, &results, &error), error)) {
        return 1;
    }
    if (failed(cyborg_results_columns(results, &columns, &error), error)) {
        cyborg_results_free(results);
        return 1;
    }
    printf("%s:", word);
    for (size_t row = 1; row < columns.rows; row++) { /* row 0 is the word itself */
        const uint64_t start = columns.id_offsets[row], end = columns.id_offsets[row + 1];
        printf(" %.*s (%.2f)", (int)(end - start), (const char *)columns.ids + start, (double)columns.distances[row]);
    }
    printf("\n");
    cyborg_results_free(results);
    return 0;
}

int main(int argc, char **argv) {
    static char *const usual[] = {(char *)"king", (char *)"ocean", (char *)"computer", (char *)"seven"};
    cyborg_db *db = NULL;
    cyborg_index *index = NULL;
    cyborg_error *error = NULL;
    words w;
    int result = 1;
    if (argc < 3) {
        fprintf(stderr, "usage: %s WORDS.BIN STORE [WORD]...\n", argv[0]);
        return 2;
    }
    const char *why = words_load(argv[1], &w);
    if (why != NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], why);
        return 1;
    }
    if (failed(cyborg_db_open(argv[2], NULL, &db, &error), error)) {
        goto end;
    }
    cyborg_status status = cyborg_index_open(db, "words", KEY, sizeof KEY, NULL, &index, &error);
    if (status == CYBORG_STATUS_NOT_FOUND) {
        cyborg_error_free(error);
        status = CYBORG_STATUS_OK;
        if (build(db, &w, &index)) {
            goto end;
        }
    }
    if (failed(status, error)) {
        goto end;
    }
    char *const *asked = argc > 3 ? argv + 3 : usual;
    const int n = argc > 3 ? argc - 3 : 4;
    result = 0;
    for (int i = 0; i < n && result == 0; i++) {
        result = neighbours(index, &w, asked[i]);
    }
    /* Reads and authenticates every stored object. */
    result = result || failed(cyborg_index_verify(index, NULL, &error), error);
end:
    cyborg_index_free(index);
    cyborg_db_free(db);
    words_free(&w);
    return result;
}
