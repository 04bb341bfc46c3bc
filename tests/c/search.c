/* Queries: exact answers while untrained, limits, radius, columns, many queries at once, and plain arrays. */
#include "check.h"

enum { N = 300, DIM = 12 };

static float *vectors;

/* Squared distance to item i. */
static double squared(const float *query, size_t i) {
    double sum = 0;
    for (size_t j = 0; j < DIM; j++) {
        double d = (double)query[j] - (double)vectors[i * DIM + j];
        sum += d * d;
    }
    return sum;
}

static size_t nearest_of(const float *query) {
    size_t best = 0;
    for (size_t i = 1; i < N; i++) {
        best = squared(query, i) < squared(query, best) ? i : best;
    }
    return best;
}

static void exact(cyborg_index *index) {
    float *queries = random_vectors(7, DIM, 99);
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    cyborg_results *results = NULL;
    options.top_k = 5;
    options.include = CYBORG_INCLUDE_ALL;
    OK(cyborg_index_query(index, queries, 7, DIM, &options, NULL, &results, &err));
    CHECK(cyborg_results_queries(results) == 7);
    for (size_t q = 0; q < 7; q++) {
        size_t best = nearest_of(queries + q * DIM);
        CHECK(cyborg_results_count(results, q) == 5 && cyborg_results_id_u64(results, q, 0) == best);
        CHECK(fabs(cyborg_results_distance(results, q, 0) - sqrt(squared(queries + q * DIM, best))) < 1e-5);
        CHECK(memcmp(cyborg_results_vector(results, q, 0), vectors + best * DIM, DIM * sizeof(float)) == 0);
        size_t len = 0;
        CHECK(cyborg_results_id(results, q, 0, &len) != NULL && len == 8);
        CHECK(cyborg_results_metadata(results, q, 0, &len) != NULL && len == 0);
        for (size_t r = 1; r < 5; r++) {
            CHECK(cyborg_results_distance(results, q, r) >= cyborg_results_distance(results, q, r - 1));
        }
        cyborg_query_stats stats = CYBORG_QUERY_STATS_INIT;
        OK(cyborg_results_stats(results, q, &stats, &err));
        CHECK(stats.vectors_scanned >= N && stats.lists_probed == 1);
    }
    CHECK(cyborg_results_count(results, 7) == 0 && cyborg_results_count(results, SIZE_MAX) == 0);
    CHECK(cyborg_results_id(results, 0, 5, NULL) == NULL && cyborg_results_id(results, 7, 0, NULL) == NULL);
    CHECK(cyborg_results_id_u64(results, 0, SIZE_MAX) == 0 && isnan(cyborg_results_distance(results, 7, 0)));
    CHECK(cyborg_results_vector(results, 0, 5) == NULL && cyborg_results_contents(results, 0, 5, NULL, NULL) == NULL);
    cyborg_query_stats stats = CYBORG_QUERY_STATS_INIT;
    EXPECT(INVALID_ARGUMENT, cyborg_results_stats(results, 7, &stats, &err));

    cyborg_columns columns = CYBORG_COLUMNS_INIT;
    OK(cyborg_results_columns(results, &columns, &err));
    CHECK(columns.rows == 35 && columns.queries == 7 && columns.starts[7] == 35 && columns.found == NULL);
    CHECK(columns.id_numbers[columns.starts[3]] == cyborg_results_id_u64(results, 3, 0));
    CHECK(columns.distances[34] == cyborg_results_distance(results, 6, 4) && columns.dimension == DIM);
    cyborg_results_free(results);

    options.include = 0;
    OK(cyborg_index_query(index, queries, 1, DIM, &options, NULL, &results, &err));
    CHECK(isnan(cyborg_results_distance(results, 0, 0)) && cyborg_results_metadata(results, 0, 0, NULL) == NULL);
    OK(cyborg_results_columns(results, &columns, &err));
    CHECK(columns.distances == NULL && columns.vectors == NULL && columns.metadata == NULL && columns.contents == NULL);
    cyborg_results_free(results);
    free(queries);
}

static void limits(cyborg_index *index) {
    float query[DIM] = {0};
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    cyborg_results *results = NULL;
    OK(cyborg_index_query(index, query, 1, DIM, NULL, NULL, &results, &err));
    CHECK(cyborg_results_count(results, 0) == CYBORG_DEFAULT_TOP_K);
    cyborg_results_free(results);
    options.top_k = CYBORG_MAX_TOP_K;
    OK(cyborg_index_query(index, query, 1, DIM, &options, NULL, &results, &err));
    CHECK(cyborg_results_count(results, 0) == N); /* fewer than top_k is no error */
    cyborg_results_free(results);
    options.top_k = CYBORG_MAX_TOP_K + 1;
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, query, 1, DIM, &options, NULL, &results, &err));
    CHECK(results == NULL);
    options.top_k = 1;
    options.include = 32;
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, query, 1, DIM, &options, NULL, &results, &err));
    options.include = 0;
    options.has_radius = 2;
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, query, 1, DIM, &options, NULL, &results, &err));
    EXPECT(DIMENSION_MISMATCH, cyborg_index_query(index, query, 1, DIM - 1, NULL, NULL, &results, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, query, SIZE_MAX / 2, DIM, NULL, NULL, &results, &err));
    OK(cyborg_index_query(index, NULL, 0, DIM, NULL, NULL, &results, &err));
    CHECK(cyborg_results_queries(results) == 0);
    cyborg_results_free(results);
    query[3] = NAN;
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, query, 1, DIM, NULL, NULL, &results, &err));
    query[3] = INFINITY;
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, query, 1, DIM, NULL, NULL, &results, &err));
}

static void radius(cyborg_index *index) {
    float query[DIM] = {0};
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    cyborg_results *results = NULL;
    options.top_k = N;
    options.include = CYBORG_INCLUDE_DISTANCE;
    options.has_radius = 1;
    options.radius = 1.9f;
    size_t inside = 0;
    for (size_t i = 0; i < N; i++) {
        inside += squared(query, i) <= 1.9 * 1.9;
    }
    OK(cyborg_index_query(index, query, 1, DIM, &options, NULL, &results, &err));
    CHECK(inside > 10 && inside < N - 10 && cyborg_results_count(results, 0) == inside);
    CHECK(cyborg_results_distance(results, 0, inside - 1) <= 1.9f);
    cyborg_results_free(results);
    options.radius = NAN;
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, query, 1, DIM, &options, NULL, &results, &err));
}

static void into_arrays(cyborg_index *index, cyborg_index *bytes) {
    float *queries = random_vectors(3, DIM, 5);
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    uint64_t ids[3 * 4];
    float distances[3 * 4];
    uint32_t counts[3];
    cyborg_results *results = NULL;
    options.top_k = 4;
    options.include = CYBORG_INCLUDE_DISTANCE;
    OK(cyborg_index_query(index, queries, 3, DIM, &options, NULL, &results, &err));
    OK(cyborg_index_query_into(index, queries, 3, DIM, &options, NULL, ids, distances, counts, &err));
    for (size_t q = 0; q < 3; q++) {
        CHECK(counts[q] == 4);
        for (size_t r = 0; r < 4; r++) {
            CHECK(ids[q * 4 + r] == cyborg_results_id_u64(results, q, r));
            CHECK(distances[q * 4 + r] == cyborg_results_distance(results, q, r));
        }
    }
    cyborg_results_free(results);
    OK(cyborg_index_query_into(index, queries, 3, DIM, &options, NULL, ids, NULL, counts, &err));
    EXPECT(UNSUPPORTED,
           cyborg_index_query_into(bytes, queries, 3, DIM, &options, NULL, ids, distances, counts, &err));
    options.include = CYBORG_INCLUDE_METADATA;
    EXPECT(INVALID_ARGUMENT,
           cyborg_index_query_into(index, queries, 3, DIM, &options, NULL, ids, distances, counts, &err));
    options.include = 0, options.top_k = CYBORG_MAX_TOP_K + 1;
    EXPECT(INVALID_ARGUMENT,
           cyborg_index_query_into(index, queries, 3, DIM, &options, NULL, ids, distances, counts, &err));
    free(queries);
}

static void stopped(cyborg_index *index) {
    float query[DIM] = {0};
    cyborg_results *results = NULL;
    cyborg_call call = CYBORG_CALL_INIT;
    cyborg_cancel *cancel = NULL;
    OK(cyborg_cancel_create(&cancel, &err));
    call.cancel = cancel;
    call.deadline_ms = UINT64_MAX;
    OK(cyborg_index_query(index, query, 1, DIM, NULL, &call, &results, &err));
    cyborg_results_free(results);
    OK(cyborg_cancel_set(cancel, &err));
    EXPECT(CANCELLED, cyborg_index_query(index, query, 1, DIM, NULL, &call, &results, &err));
    CHECK(results == NULL);
    EXPECT(CANCELLED, cyborg_index_verify(index, &call, &err));
    EXPECT(CANCELLED, cyborg_index_compact(index, &call, &err));
    EXPECT(CANCELLED, cyborg_index_train(index, NULL, &call, NULL, &err));
    cyborg_cancel_free(cancel);
}

int main(void) {
    cyborg_db *db = open_memory();
    cyborg_index *index = create_u64(db, "numbers", DIM), *bytes = create_bytes(db, "strings", DIM);
    float query[DIM] = {0};
    cyborg_results *results = NULL;
    OK(cyborg_index_query(index, query, 1, DIM, NULL, NULL, &results, &err));
    CHECK(cyborg_results_count(results, 0) == 0); /* an empty index answers */
    cyborg_results_free(results);
    fill_u64(index, 0, N, DIM);
    vectors = random_vectors(N, DIM, 1); /* as fill_u64 made them */
    exact(index);
    limits(index);
    radius(index);
    into_arrays(index, bytes);
    stopped(index);
    free(vectors);
    cyborg_index_free(bytes);
    cyborg_index_free(index);
    cyborg_db_free(db);
    return 0;
}
