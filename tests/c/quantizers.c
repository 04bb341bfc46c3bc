/* Every quantizer under every metric and both cache modes: describe tells what it is, an item finds itself, what comes
   after a training is coded at once, and the same seed and items give the same results. */
#include "check.h"

#define N 1500
#define DIM 18
#define LATE 40

struct spec {
    cyborg_quantizer quantizer;
    uint32_t sq_bits, pq_m, pq_bits, pq_rotation, rabitq_bits;
    cyborg_vector_precision precision;
    uint32_t told_bits, told_m;
};

static const struct spec SPECS[] = {
    {CYBORG_QUANTIZER_FLAT, 0, 0, 0, 0, 0, 0, 32, 0},
    {CYBORG_QUANTIZER_FLAT, 0, 0, 0, 0, 0, CYBORG_VECTOR_PRECISION_F16, 16, 0},
    {CYBORG_QUANTIZER_SQ, 0, 0, 0, 0, 0, CYBORG_VECTOR_PRECISION_F32, 8, 0},
    {CYBORG_QUANTIZER_SQ, 4, 0, 0, 0, 0, CYBORG_VECTOR_PRECISION_F16, 4, 0},
    {CYBORG_QUANTIZER_SQ, 2, 0, 0, 0, 0, 0, 2, 0},
    {CYBORG_QUANTIZER_PQ, 0, 0, 0, 0, 0, 0, 4, DIM / 2},
    {CYBORG_QUANTIZER_PQ, 0, 7, 8, 0, 0, 0, 8, 7},
    {CYBORG_QUANTIZER_PQ, 0, 5, 4, 1, 0, CYBORG_VECTOR_PRECISION_F16, 4, 5},
    {CYBORG_QUANTIZER_RABITQ, 0, 0, 0, 0, 0, 0, 4, 0},
    {CYBORG_QUANTIZER_RABITQ, 0, 0, 0, 0, 1, 0, 1, 0},
    {CYBORG_QUANTIZER_RABITQ, 0, 0, 0, 0, 8, CYBORG_VECTOR_PRECISION_F16, 8, 0},
};

static cyborg_index *make(cyborg_db *db, const char *name, const struct spec *s, cyborg_metric metric) {
    cyborg_index *index = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.metric = metric;
    options.quantizer = s->quantizer;
    options.sq_bits = s->sq_bits;
    options.pq_m = s->pq_m;
    options.pq_bits = s->pq_bits;
    options.pq_rotation = s->pq_rotation;
    options.rabitq_bits = s->rabitq_bits;
    options.vector_precision = s->precision;
    options.id_kind = CYBORG_ID_KIND_U64;
    options.auto_train_disabled = 1;
    options.seed = 5;
    OK(cyborg_index_create(db, name, KEY, sizeof KEY, &options, &index, &err));
    fill_u64(index, 0, N, DIM);
    cyborg_train_options train = CYBORG_TRAIN_OPTIONS_INIT;
    train.n_lists = 12;
    OK(cyborg_index_train(index, &train, NULL, NULL, &err));
    fill_u64(index, N, LATE, DIM);
    return index;
}

static void described(const cyborg_index *index, const struct spec *s) {
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.trained == 1 && info.count == N + LATE && info.reserved == 0);
    CHECK(info.quantizer == s->quantizer && info.configured_quantizer == s->quantizer);
    CHECK(info.quantizer_bits == s->told_bits && info.quantizer_m == s->told_m && info.configured_m == s->pq_m);
    CHECK(info.configured_bits == (s->quantizer == CYBORG_QUANTIZER_FLAT ? 0 : s->told_bits));
    CHECK(info.quantizer_rotation == s->pq_rotation && info.configured_rotation == s->pq_rotation);
    CHECK(info.vector_precision == (s->precision != 0 ? s->precision : CYBORG_VECTOR_PRECISION_F32));
    const uint32_t flat = s->precision == CYBORG_VECTOR_PRECISION_F16 ? 2 * DIM : 4 * DIM;
    CHECK(info.code_bytes > 0 && (s->quantizer != CYBORG_QUANTIZER_FLAT || info.code_bytes == flat));
}

/* How many of the late and some of the early items are their own nearest among all lists. */
static void find_themselves(cyborg_index *index, cyborg_metric metric) {
    float *early = random_vectors(N, DIM, 1), *late = random_vectors(LATE, DIM, N + 1);
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    options.top_k = 1;
    options.n_probes = 12;
    options.rerank_mult = 200;
    uint64_t ids[LATE];
    uint32_t counts[LATE], found[2] = {0, 0};
    float distances[LATE];
    for (int part = 0; part < 2; part++) {
        const float *queries = part ? late : early;
        OK(cyborg_index_query_into(index, queries, LATE, DIM, &options, NULL, ids, distances, counts, &err));
        for (uint64_t i = 0; i < LATE; i++) {
            CHECK(counts[i] == 1);
            found[part] += ids[i] == (part ? N : 0) + i;
        }
    }
    /* Under inner product a longer vector may be nearer than the item itself. */
    CHECK(metric == CYBORG_METRIC_INNER_PRODUCT || (found[0] >= LATE - 1 && found[1] >= LATE - 1));
    free(early);
    free(late);
}

static void same_results(cyborg_index *a, cyborg_index *b) {
    float *queries = random_vectors(30, DIM, 99);
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    cyborg_results *left = NULL, *right = NULL;
    options.top_k = 20;
    options.n_probes = 4;
    options.rerank_mult = 1;
    options.include = CYBORG_INCLUDE_DISTANCE;
    OK(cyborg_index_query(a, queries, 30, DIM, &options, NULL, &left, &err));
    OK(cyborg_index_query(b, queries, 30, DIM, &options, NULL, &right, &err));
    for (size_t q = 0; q < 30; q++) {
        CHECK(cyborg_results_count(left, q) == cyborg_results_count(right, q));
        for (size_t i = 0; i < cyborg_results_count(left, q); i++) {
            CHECK(cyborg_results_id_u64(left, q, i) == cyborg_results_id_u64(right, q, i));
            CHECK(cyborg_results_distance(left, q, i) == cyborg_results_distance(right, q, i));
        }
    }
    cyborg_results_free(left);
    cyborg_results_free(right);
    free(queries);
}

static void automatic(cyborg_db *db) {
    const struct spec none = {0};
    cyborg_index *index = make(db, "auto", &none, 0);
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.configured_quantizer == CYBORG_QUANTIZER_AUTO && info.configured_bits == 0);
    CHECK(info.quantizer > CYBORG_QUANTIZER_AUTO && info.quantizer <= CYBORG_QUANTIZER_RABITQ && info.quantizer_bits > 0);
    cyborg_index_free(index);
}

static void recall_curve(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "curve", DIM);
    uint32_t probes[2000];
    float recalls[2000];
    size_t count = 7, again = 0;
    OK(cyborg_index_recall_curve(index, 10, NULL, NULL, 0, &count, &err));
    CHECK(count == 0);
    fill_u64(index, 0, N, DIM);
    OK(cyborg_index_train(index, NULL, NULL, NULL, &err));
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.recall_queries > 0 && info.recall_at_10_probes[0] > 0 && info.recall_at_10_probes[1] > 0);
    OK(cyborg_index_recall_curve(index, 10, NULL, NULL, 0, &count, &err));
    CHECK(count > 1 && count <= 2000);
    OK(cyborg_index_recall_curve(index, 10, probes, recalls, 2000, &again, &err));
    CHECK(again == count && probes[0] == info.recall_at_10_probes[0] && recalls[0] == info.recall_at_10[0]);
    for (size_t i = 1; i < count; i++) {
        CHECK(probes[i - 1] < probes[i] && recalls[i - 1] <= recalls[i] && recalls[i] <= 1);
    }
    size_t last = 0;
    while (last + 1 < CYBORG_RECALL_POINTS && info.recall_at_10_probes[last + 1] > 0) {
        last++;
    }
    CHECK(info.recall_at_10_probes[last] == probes[count - 1] && info.recall_at_10[last] == recalls[count - 1]);
    EXPECT(BUFFER_TOO_SMALL, cyborg_index_recall_curve(index, 10, probes, recalls, count - 1, &again, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_index_recall_curve(index, 11, probes, recalls, 2000, &again, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_recall_curve(NULL, 10, probes, recalls, 2000, &again, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_recall_curve(index, 10, NULL, recalls, 2000, &again, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_recall_curve(index, 10, probes, NULL, 2000, &again, &err));
    EXPECT(NULL_ARGUMENT, cyborg_index_recall_curve(index, 10, probes, recalls, 2000, NULL, &err));
    cyborg_index_free(index);
}

static void halves(cyborg_db *db) {
    const struct spec flat = {CYBORG_QUANTIZER_FLAT, 0, 0, 0, 0, 0, CYBORG_VECTOR_PRECISION_F16, 16, 0};
    cyborg_index *index = make(db, "halves", &flat, CYBORG_METRIC_SQUARED_EUCLIDEAN);
    const uint64_t ids[] = {900000, 900001};
    float vectors[2 * DIM] = {0.1f, 65504.0f};
    cyborg_batch batch = CYBORG_BATCH_INIT;
    batch.count = 2, batch.dimension = DIM, batch.vectors = vectors, batch.id_numbers = ids;
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    cyborg_ids wanted = CYBORG_IDS_INIT;
    wanted.count = 1, wanted.id_numbers = ids;
    for (int round = 0; round < 2; round++) {
        cyborg_items *items = NULL;
        OK(cyborg_index_get(index, &wanted, CYBORG_INCLUDE_VECTOR, &items, &err));
        const float *vector = cyborg_items_vector(items, 0);
        CHECK(vector[0] == 0.0999755859375f && vector[1] == 65504.0f);
        cyborg_items_free(items);
        OK(cyborg_index_compact(index, NULL, &err));
    }
    vectors[DIM] = -65505.0f;
    EXPECT_ITEM(INVALID_ARGUMENT, 1, cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    cyborg_index_free(index);
}

int main(void) {
    for (int mode = CYBORG_CACHE_MODE_PLAIN; mode <= CYBORG_CACHE_MODE_SEALED; mode++) {
        for (size_t i = 0; i < sizeof SPECS / sizeof *SPECS; i++) {
            cyborg_db *db = NULL;
            cyborg_db_options options = CYBORG_DB_OPTIONS_INIT;
            options.cache_mode = mode;
            options.threads = 2;
            OK(cyborg_db_open("memory:", &options, &db, &err));
            /* All metrics in turn: a whole table of them would take valgrind minutes. */
            const cyborg_metric metric = 1 + (cyborg_metric)((i + (size_t)mode) % 4);
            cyborg_index *a = make(db, "a", &SPECS[i], metric), *b = make(db, "b", &SPECS[i], metric);
            described(a, &SPECS[i]);
            find_themselves(a, metric);
            same_results(a, b);
            cyborg_index_free(a);
            cyborg_index_free(b);
            cyborg_db_free(db);
        }
    }
    cyborg_db *db = open_memory();
    automatic(db);
    recall_curve(db);
    halves(db);
    cyborg_db_free(db);
    return 0;
}
