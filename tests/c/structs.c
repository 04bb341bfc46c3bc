/* Options of programs compiled earlier or later than the library, and fields out of range. */
#include "check.h"

static cyborg_status open_with(const void *options) {
    cyborg_db *db = NULL;
    cyborg_status status = cyborg_db_open("memory:", options, &db, NULL);
    CHECK((status == CYBORG_STATUS_OK) == (db != NULL));
    cyborg_db_free(db);
    return status;
}

static cyborg_status create_with(cyborg_db *db, const void *options) {
    cyborg_index *index = NULL;
    cyborg_status status = cyborg_index_create(db, "index", KEY, 32, options, &index, NULL);
    CHECK((status == CYBORG_STATUS_OK) == (index != NULL));
    cyborg_index_free(index);
    if (status == CYBORG_STATUS_OK) {
        OK(cyborg_db_drop_index(db, "index", KEY, 32, &err));
    }
    return status;
}

static void sizes_of_inputs(void) {
    struct {
        cyborg_db_options known;
        uint64_t later;
    } longer;
    memset(&longer, 0, sizeof longer);
    longer.known.struct_size = sizeof longer;
    CHECK(open_with(&longer) == CYBORG_STATUS_OK);
    longer.later = 1;
    CHECK(open_with(&longer) == CYBORG_STATUS_UNSUPPORTED);
    longer.known.struct_size = sizeof longer.known;
    CHECK(open_with(&longer) == CYBORG_STATUS_OK);

    /* A shorter struct: what follows it in memory is not looked at. */
    struct {
        uint32_t struct_size, threads;
        uint64_t not_ours[2];
        int32_t bad_cache_mode;
    } shorter = {8, 1, {UINT64_MAX, UINT64_MAX}, 99};
    CHECK(open_with(&shorter) == CYBORG_STATUS_OK);
    uint32_t only_size = sizeof only_size;
    CHECK(open_with(&only_size) == CYBORG_STATUS_OK);

    static const uint32_t garbage[] = {0, 1, 3, 4097, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        CHECK(open_with(&garbage[i]) == CYBORG_STATUS_INVALID_ARGUMENT);
    }
}

static void fields_of_a_db(void) {
    cyborg_db_options o = CYBORG_DB_OPTIONS_INIT;
    o.cache_mode = 3;
    CHECK(open_with(&o) == CYBORG_STATUS_INVALID_ARGUMENT);
    o.cache_mode = CYBORG_CACHE_MODE_SEALED;
    CHECK(open_with(&o) == CYBORG_STATUS_OK);
    o.read_only = 2;
    CHECK(open_with(&o) == CYBORG_STATUS_INVALID_ARGUMENT);
}

#define REFUSED(status, field, value)                                                                                  \
    do {                                                                                                               \
        cyborg_index_options o = CYBORG_INDEX_OPTIONS_INIT;                                                            \
        o.field = value;                                                                                               \
        CHECK(create_with(db, &o) == CYBORG_STATUS_##status);                                                          \
    } while (0)

static void fields_of_an_index(cyborg_db *db) {
    CHECK(create_with(db, NULL) == CYBORG_STATUS_OK);
    REFUSED(OK, metric, CYBORG_METRIC_INNER_PRODUCT);
    REFUSED(OK, quantizer, CYBORG_QUANTIZER_SQ);
    REFUSED(OK, quantizer, CYBORG_QUANTIZER_FLAT);
    REFUSED(OK, dimension, CYBORG_MAX_DIMENSION);
    REFUSED(INVALID_ARGUMENT, dimension, CYBORG_MAX_DIMENSION + 1);
    REFUSED(INVALID_ARGUMENT, metric, 5);
    REFUSED(INVALID_ARGUMENT, metric, -1);
    REFUSED(OK, quantizer, CYBORG_QUANTIZER_PQ);
    REFUSED(OK, quantizer, CYBORG_QUANTIZER_RABITQ);
    REFUSED(UNSUPPORTED, quantizer, 5);
    REFUSED(UNSUPPORTED, quantizer, -1);
    REFUSED(INVALID_ARGUMENT, sq_bits, 8); /* each without its quantizer */
    REFUSED(INVALID_ARGUMENT, pq_m, 1);
    REFUSED(INVALID_ARGUMENT, pq_bits, 8);
    REFUSED(INVALID_ARGUMENT, pq_rotation, 1);
    REFUSED(INVALID_ARGUMENT, rabitq_bits, 4);
    REFUSED(OK, vector_precision, CYBORG_VECTOR_PRECISION_F32);
    REFUSED(OK, vector_precision, CYBORG_VECTOR_PRECISION_F16);
    REFUSED(INVALID_ARGUMENT, vector_precision, 3);
    REFUSED(UNSUPPORTED, reserved, 1);
    REFUSED(INVALID_ARGUMENT, id_kind, 3);
    REFUSED(INVALID_ARGUMENT, auto_train_disabled, 2);
    REFUSED(INVALID_ARGUMENT, target_recall, 1.5f);
    REFUSED(INVALID_ARGUMENT, target_recall, -0.5f);
    REFUSED(INVALID_ARGUMENT, target_recall, NAN);
    for (uint32_t bits = 0; bits < 260; bits++) {
        cyborg_index_options sq = CYBORG_INDEX_OPTIONS_INIT, pq = sq, rabitq = sq;
        sq.quantizer = CYBORG_QUANTIZER_SQ, sq.sq_bits = bits;
        pq.quantizer = CYBORG_QUANTIZER_PQ, pq.pq_bits = bits;
        rabitq.quantizer = CYBORG_QUANTIZER_RABITQ, rabitq.rabitq_bits = bits;
        const int known[] = {bits == 0 || bits == 2 || bits == 4 || bits == 8, bits == 0 || bits == 4 || bits == 8, bits <= 8};
        CHECK(create_with(db, &sq) == (known[0] ? CYBORG_STATUS_OK : CYBORG_STATUS_INVALID_ARGUMENT));
        CHECK(create_with(db, &pq) == (known[1] ? CYBORG_STATUS_OK : CYBORG_STATUS_INVALID_ARGUMENT));
        CHECK(create_with(db, &rabitq) == (known[2] ? CYBORG_STATUS_OK : CYBORG_STATUS_INVALID_ARGUMENT));
    }
    cyborg_index_options pq = CYBORG_INDEX_OPTIONS_INIT;
    pq.quantizer = CYBORG_QUANTIZER_PQ, pq.dimension = 10, pq.pq_m = 10, pq.pq_rotation = 1;
    CHECK(create_with(db, &pq) == CYBORG_STATUS_OK);
    pq.pq_m = 11; /* more than dimensions */
    CHECK(create_with(db, &pq) == CYBORG_STATUS_INVALID_ARGUMENT);
    pq.dimension = 0; /* not known yet: refused by the first upsert */
    CHECK(create_with(db, &pq) == CYBORG_STATUS_OK);
    pq.pq_rotation = 2;
    CHECK(create_with(db, &pq) == CYBORG_STATUS_INVALID_ARGUMENT);
    cyborg_index *index = NULL;
    pq.pq_rotation = 0, pq.id_kind = CYBORG_ID_KIND_U64;
    OK(cyborg_index_create(db, "late", KEY, 32, &pq, &index, &err));
    const float vectors[10] = {1};
    const uint64_t id = 7;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    batch.count = 1, batch.dimension = 10, batch.vectors = vectors, batch.id_numbers = &id;
    EXPECT(INVALID_ARGUMENT, cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    cyborg_index_free(index);
}

static void sizes_of_outputs(cyborg_index *index) {
    struct {
        cyborg_index_info known;
        uint64_t later;
    } longer;
    memset(&longer, 0xff, sizeof longer);
    longer.known.struct_size = sizeof longer;
    OK(cyborg_index_describe(index, &longer.known, &err));
    CHECK(longer.known.struct_size == sizeof longer && longer.known.dimension == 2 && longer.later == 0);

    memset(&longer, 0xff, sizeof longer);
    longer.known.struct_size = offsetof(cyborg_index_info, metric);
    OK(cyborg_index_describe(index, &longer.known, &err));
    CHECK(longer.known.dimension == 2 && longer.known.metric == -1 && longer.later == UINT64_MAX);

    longer.known.struct_size = 0;
    EXPECT(INVALID_ARGUMENT, cyborg_index_describe(index, &longer.known, &err));
    cyborg_index_stats_info stats = CYBORG_INDEX_STATS_INFO_INIT;
    OK(cyborg_index_stats(index, &stats, &err));
    stats.struct_size = 2;
    EXPECT(INVALID_ARGUMENT, cyborg_index_stats(index, &stats, &err));
}

static void reserved_fields(cyborg_db *db, cyborg_index *index) {
    cyborg_call call = CYBORG_CALL_INIT;
    call.reserved = 1;
    EXPECT(UNSUPPORTED, cyborg_index_verify(index, &call, &err));
    cyborg_ids ids = CYBORG_IDS_INIT;
    uint8_t found = 0;
    ids.reserved = 1;
    EXPECT(UNSUPPORTED, cyborg_index_contains(index, &ids, &found, 1, &err));
    cyborg_open_options open = CYBORG_OPEN_OPTIONS_INIT;
    cyborg_index *second = NULL;
    open.reserved = 1;
    EXPECT(UNSUPPORTED, cyborg_index_open(db, "fixed", KEY, 32, &open, &second, &err));
    CHECK(second == NULL);
    cyborg_batch batch = CYBORG_BATCH_INIT;
    batch.struct_size = 3;
    EXPECT(INVALID_ARGUMENT, cyborg_index_upsert(index, &batch, NULL, NULL, &err));
}

int main(void) {
    sizes_of_inputs();
    fields_of_a_db();
    cyborg_db *db = open_memory();
    fields_of_an_index(db);
    cyborg_index *index = create_u64(db, "fixed", 2);
    sizes_of_outputs(index);
    reserved_fields(db, index);
    cyborg_index_free(index);
    cyborg_db_free(db);
    return 0;
}
