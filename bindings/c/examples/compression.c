/*
 * Introduces: the quantizers of cyborg_index_options, vector_precision, code_bytes of cyborg_index_describe.
 *
 *     compression WORDS.BIN
 *
 * Trains the same 19,000 English words (GloVe vectors) with one quantizer after another and asks each index for the words
 * nearest to 1,000 others. Prints the bytes of a vector's code, the share of the 10 true neighbours found, and queries a
 * second on one thread, all with the library's own settings otherwise.
 */
#include "words.h"
#include <cyborg.h>
#include <time.h>

enum { QUERIES = 1000, TOP_K = 10 };

static const uint8_t KEY[CYBORG_KEY_LEN] = "an example: take random bytes!!";

static const struct {
    const char *name;
    cyborg_quantizer quantizer;
    uint32_t sq_bits, pq_bits, pq_rotation, rabitq_bits;
    cyborg_vector_precision precision;
} CHOICES[] = {
    {"the library's choice", CYBORG_QUANTIZER_AUTO, 0, 0, 0, 0, 0},
    {"full vectors", CYBORG_QUANTIZER_FLAT, 0, 0, 0, 0, 0},
    {"full vectors, f16", CYBORG_QUANTIZER_FLAT, 0, 0, 0, 0, CYBORG_VECTOR_PRECISION_F16},
    {"scalar, 8 bits", CYBORG_QUANTIZER_SQ, 8, 0, 0, 0, 0},
    {"scalar, 4 bits", CYBORG_QUANTIZER_SQ, 4, 0, 0, 0, 0},
    {"scalar, 2 bits", CYBORG_QUANTIZER_SQ, 2, 0, 0, 0, 0},
    {"product, 8 bits", CYBORG_QUANTIZER_PQ, 0, 8, 0, 0, 0},
    {"product, 4 bits", CYBORG_QUANTIZER_PQ, 0, 4, 0, 0, 0},
    {"product, rotated", CYBORG_QUANTIZER_PQ, 0, 4, 1, 0, 0},
    {"RaBitQ, 4 bits", CYBORG_QUANTIZER_RABITQ, 0, 0, 0, 4, 0},
    {"RaBitQ, 1 bit", CYBORG_QUANTIZER_RABITQ, 0, 0, 0, 1, 0},
};

static int failed(cyborg_status status, cyborg_error *error) {
    if (status != CYBORG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", cyborg_status_name(status), cyborg_error_message(error));
        cyborg_error_free(error);
    }
    return status != CYBORG_STATUS_OK;
}

/* The neighbours of all queries: TOP_K ids each, and the processor's seconds it took. */
static int ask(cyborg_index *index, const words *w, uint64_t *ids, double *seconds) {
    cyborg_error *error = NULL;
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    uint32_t counts[QUERIES];
    options.top_k = TOP_K;
    options.threads = 1;
    const clock_t start = clock();
    const cyborg_status status = cyborg_index_query_into(index, words_vector(w, w->count - QUERIES), QUERIES, w->dimension,
                                                         &options, NULL, ids, NULL, counts, &error);
    *seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    return failed(status, error);
}

/* Makes an index of all words but the last QUERIES, which takes no training by itself. */
static int fill(cyborg_db *db, const words *w, size_t choice, const uint64_t *numbers, cyborg_index **index) {
    cyborg_error *error = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    options.metric = CYBORG_METRIC_COSINE;
    options.id_kind = CYBORG_ID_KIND_U64;
    options.auto_train_disabled = 1;
    options.quantizer = CHOICES[choice].quantizer;
    options.sq_bits = CHOICES[choice].sq_bits;
    options.pq_bits = CHOICES[choice].pq_bits;
    options.pq_rotation = CHOICES[choice].pq_rotation;
    options.rabitq_bits = CHOICES[choice].rabitq_bits;
    options.vector_precision = CHOICES[choice].precision;
    batch.count = w->count - QUERIES;
    batch.dimension = w->dimension;
    batch.vectors = w->vectors;
    batch.id_numbers = numbers;
    return failed(cyborg_index_create(db, CHOICES[choice].name, KEY, sizeof KEY, &options, index, &error), error) ||
           failed(cyborg_index_upsert(*index, &batch, NULL, NULL, &error), error);
}

/* The share of the true neighbours among those found. */
static double recall(const uint64_t *truth, const uint64_t *found) {
    size_t hits = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t i = 0; i < TOP_K; i++) {
            for (size_t j = 0; j < TOP_K; j++) {
                hits += truth[q * TOP_K + i] == found[q * TOP_K + j];
            }
        }
    }
    return (double)hits / (QUERIES * TOP_K);
}

/* One line of the table. The first index, while it is untrained and therefore exact, also tells the truth. */
static int compare(cyborg_db *db, const words *w, size_t choice, const uint64_t *numbers, uint64_t *truth, uint64_t *found) {
    cyborg_error *error = NULL;
    cyborg_index *index = NULL;
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    double seconds = 0;
    const int bad = fill(db, w, choice, numbers, &index) || (choice == 0 && ask(index, w, truth, &seconds)) ||
                    failed(cyborg_index_train(index, NULL, NULL, NULL, &error), error) ||
                    failed(cyborg_index_describe(index, &info, &error), error) ||
                    ask(index, w, found, &seconds) || /* once to fill the cache */
                    ask(index, w, found, &seconds);
    if (!bad) {
        printf("%-22s %5u %8.3f %9.0f\n", CHOICES[choice].name, (unsigned)info.code_bytes, recall(truth, found),
               QUERIES / seconds);
    }
    cyborg_index_free(index);
    return bad;
}

int main(int argc, char **argv) {
    cyborg_db *db = NULL;
    cyborg_error *error = NULL;
    words w;
    if (argc != 2) {
        fprintf(stderr, "usage: %s WORDS.BIN\n", argv[0]);
        return 2;
    }
    const char *why = words_load(argv[1], &w);
    if (why != NULL || w.count <= QUERIES) {
        fprintf(stderr, "%s: %s\n", argv[1], why != NULL ? why : "too few words");
        return 1;
    }
    uint64_t *const numbers = malloc(w.count * sizeof *numbers);
    uint64_t *const truth = malloc(sizeof *truth * QUERIES * TOP_K);
    uint64_t *const found = malloc(sizeof *found * QUERIES * TOP_K);
    int result = numbers == NULL || truth == NULL || found == NULL ||
                 failed(cyborg_db_open("memory:", NULL, &db, &error), error);
    for (uint64_t i = 0; result == 0 && i < w.count; i++) {
        numbers[i] = i;
    }
    if (result == 0) {
        printf("%-22s %5s %8s %9s\n", "quantizer", "bytes", "recall", "queries/s");
    }
    for (size_t choice = 0; result == 0 && choice < sizeof CHOICES / sizeof CHOICES[0]; choice++) {
        result = compare(db, &w, choice, numbers, truth, found);
    }
    cyborg_db_free(db);
    free(numbers);
    free(truth);
    free(found);
    words_free(&w);
    return result;
}
