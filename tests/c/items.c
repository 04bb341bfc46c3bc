/* What goes in comes out exactly, and a bad item refuses its whole batch. */
#include "check.h"

/* Four items with everything an item can have. */
static const float VECTORS[8] = {1, 0, 0, 1, -1, 0, 0, -1};
static const char IDS[] = "oneTWO\0\xff" "four-four";
static const uint64_t ID_OFFSETS[5] = {0, 3, 6, 8, 17};
static const char METADATA[] = "{\"a\":1}{ \"name\": \"\\u00e9\" }{}";
static const uint64_t METADATA_OFFSETS[5] = {0, 7, 27, 27, 29};
static const char CONTENTS[] = "Hello!\0\1\2";
static const uint64_t CONTENTS_OFFSETS[5] = {0, 6, 9, 9, 9};
static const uint8_t KINDS[4] = {CYBORG_CONTENTS_TEXT, CYBORG_CONTENTS_BYTES, CYBORG_CONTENTS_NONE, CYBORG_CONTENTS_TEXT};

static cyborg_batch four_items(void) {
    cyborg_batch b = CYBORG_BATCH_INIT;
    b.count = 4;
    b.dimension = 2;
    b.vectors = VECTORS;
    b.ids = (const uint8_t *)IDS, b.ids_len = sizeof IDS - 1, b.id_offsets = ID_OFFSETS;
    b.metadata = METADATA, b.metadata_len = sizeof METADATA - 1, b.metadata_offsets = METADATA_OFFSETS;
    b.contents = (const uint8_t *)CONTENTS, b.contents_len = sizeof CONTENTS - 1, b.contents_offsets = CONTENTS_OFFSETS;
    b.contents_kinds = KINDS;
    return b;
}

static cyborg_ids four_ids(void) {
    cyborg_ids ids = CYBORG_IDS_INIT;
    ids.count = 4;
    ids.ids = (const uint8_t *)IDS, ids.ids_len = sizeof IDS - 1, ids.id_offsets = ID_OFFSETS;
    return ids;
}

static void check_items(const cyborg_items *items) {
    size_t len = 0;
    uint8_t kind = 0;
    CHECK(cyborg_items_count(items) == 4);
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *id = cyborg_items_id(items, i, &len);
        CHECK(cyborg_items_found(items, i) == 1);
        CHECK(len == ID_OFFSETS[i + 1] - ID_OFFSETS[i] && memcmp(id, IDS + ID_OFFSETS[i], len) == 0);
        const char *metadata = cyborg_items_metadata(items, i, &len);
        CHECK(metadata != NULL && len == METADATA_OFFSETS[i + 1] - METADATA_OFFSETS[i]);
        CHECK(memcmp(metadata, METADATA + METADATA_OFFSETS[i], len) == 0);
        const uint8_t *contents = cyborg_items_contents(items, i, &len, &kind);
        CHECK(contents != NULL && len == CONTENTS_OFFSETS[i + 1] - CONTENTS_OFFSETS[i] && kind == KINDS[i]);
        CHECK(memcmp(contents, CONTENTS + CONTENTS_OFFSETS[i], len) == 0);
        CHECK(memcmp(cyborg_items_vector(items, i), VECTORS + 2 * i, 2 * sizeof(float)) == 0);
    }
    CHECK(cyborg_items_found(items, 4) == 0 && cyborg_items_id(items, 4, &len) == NULL && len == 0);
    CHECK(cyborg_items_metadata(items, 4, NULL) == NULL && cyborg_items_vector(items, SIZE_MAX) == NULL);
    CHECK(cyborg_items_contents(items, SIZE_MAX, NULL, NULL) == NULL && cyborg_items_id_u64(items, 0) == 0);
}

static void there_and_back(cyborg_db *db) {
    cyborg_index *index = create_bytes(db, "items", 0);
    cyborg_batch batch = four_items();
    cyborg_upsert_result result = CYBORG_UPSERT_RESULT_INIT;
    OK(cyborg_index_upsert(index, &batch, NULL, &result, &err));
    CHECK(result.inserted == 4 && result.updated == 0 && result.vector_count == 4 && result.training_triggered == 0);
    CHECK(result.threshold >= 10000);
    OK(cyborg_index_upsert(index, &batch, NULL, &result, &err));
    CHECK(result.inserted == 0 && result.updated == 4 && result.vector_count == 4);
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.dimension == 2 && info.count == 4 && info.metric == CYBORG_METRIC_EUCLIDEAN && info.trained == 0);
    CHECK(info.id_kind == CYBORG_ID_KIND_BYTES && info.n_lists == 1 && info.auto_train == 1 && info.generation == 0);

    cyborg_ids ids = four_ids();
    cyborg_items *items = NULL;
    OK(cyborg_index_get(index, &ids, CYBORG_INCLUDE_ALL, &items, &err));
    check_items(items);
    cyborg_columns columns = CYBORG_COLUMNS_INIT;
    OK(cyborg_items_columns(items, &columns, &err));
    CHECK(columns.rows == 4 && columns.queries == 0 && columns.starts == NULL && columns.distances == NULL);
    CHECK(columns.dimension == 2 && memcmp(columns.vectors, VECTORS, sizeof VECTORS) == 0);
    CHECK(columns.id_numbers == NULL && columns.id_offsets[4] == sizeof IDS - 1 && columns.found[3] == 1);
    CHECK(memcmp(columns.contents_kinds, KINDS, 4) == 0 && columns.metadata_offsets[4] == sizeof METADATA - 1);
    cyborg_items_free(items);

    OK(cyborg_index_get(index, &ids, 0, &items, &err));
    CHECK(cyborg_items_metadata(items, 0, NULL) == NULL && cyborg_items_contents(items, 0, NULL, NULL) == NULL);
    CHECK(cyborg_items_vector(items, 0) == NULL);
    cyborg_items_free(items);
    EXPECT(INVALID_ARGUMENT, cyborg_index_get(index, &ids, 16, &items, &err));
    CHECK(items == NULL);

    uint8_t found[4] = {9, 9, 9, 9};
    ids.ids = (const uint8_t *)"oneXXX\0\xff" "nobody---";
    OK(cyborg_index_contains(index, &ids, found, 4, &err));
    CHECK(found[0] == 1 && found[1] == 0 && found[2] == 1 && found[3] == 0);
    EXPECT(BUFFER_TOO_SMALL, cyborg_index_contains(index, &ids, found, 3, &err));
    OK(cyborg_index_get(index, &ids, CYBORG_INCLUDE_ALL, &items, &err));
    CHECK(cyborg_items_found(items, 0) == 1 && cyborg_items_found(items, 1) == 0);
    cyborg_items_free(items);

    uint64_t deleted = 9;
    OK(cyborg_index_delete(index, &ids, &deleted, &err));
    CHECK(deleted == 2 && count_of(index) == 2);
    OK(cyborg_index_delete(index, &ids, NULL, &err));
    OK(cyborg_index_contains(index, &ids, found, 4, &err));
    CHECK(found[0] == 0 && found[2] == 0);
    ids.count = 0;
    OK(cyborg_index_delete(index, &ids, &deleted, &err));
    CHECK(deleted == 0);
    OK(cyborg_index_compact(index, NULL, &err));
    OK(cyborg_index_verify(index, NULL, &err));
    CHECK(count_of(index) == 2);
    cyborg_index_free(index);
}

/* A replaced item has what the new batch gives it, and nothing of the old one. */
static void replaced_whole(cyborg_db *db) {
    cyborg_index *index = create_bytes(db, "replaced", 0);
    cyborg_batch batch = four_items();
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    batch.metadata = NULL, batch.metadata_offsets = NULL, batch.metadata_len = 0;
    batch.contents = NULL, batch.contents_offsets = NULL, batch.contents_len = 0, batch.contents_kinds = NULL;
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    cyborg_ids ids = four_ids();
    cyborg_items *items = NULL;
    OK(cyborg_index_get(index, &ids, CYBORG_INCLUDE_ALL, &items, &err));
    size_t len = 9;
    uint8_t kind = 9;
    CHECK(cyborg_items_metadata(items, 0, &len) != NULL && len == 0);
    CHECK(cyborg_items_contents(items, 0, &len, &kind) != NULL && len == 0 && kind == CYBORG_CONTENTS_NONE);
    cyborg_items_free(items);

    const uint64_t offsets[4] = {0, 1, 2, 3};
    batch.count = 3;
    batch.ids = (const uint8_t *)"aba", batch.ids_len = 3, batch.id_offsets = offsets;
    cyborg_upsert_result result = CYBORG_UPSERT_RESULT_INIT;
    OK(cyborg_index_upsert(index, &batch, NULL, &result, &err));
    CHECK(result.inserted == 2 && result.superseded == 1 && result.vector_count == 6);
    ids.count = 1, ids.ids = (const uint8_t *)"a", ids.ids_len = 1, ids.id_offsets = offsets;
    OK(cyborg_index_get(index, &ids, CYBORG_INCLUDE_VECTOR, &items, &err));
    CHECK(cyborg_items_vector(items, 0)[0] == -1); /* the last of equal ids won */
    cyborg_items_free(items);
    cyborg_index_free(index);
}

#define BAD(status, item, change)                                                                                      \
    do {                                                                                                               \
        cyborg_batch batch = four_items();                                                                             \
        change;                                                                                                        \
        EXPECT_ITEM(status, item, cyborg_index_upsert(index, &batch, NULL, NULL, &err));                               \
        CHECK(count_of(index) == 0);                                                                                   \
    } while (0)

static void refused_whole(cyborg_db *db) {
    cyborg_index *index = create_bytes(db, "refused", 2);
    static const uint64_t backwards[5] = {0, 3, 2, 8, 17}, outside[5] = {0, 3, 6, 8, 18}, empty[5] = {0, 3, 3, 8, 17};
    static const uint64_t huge[5] = {0, 3, 6, UINT64_MAX, UINT64_MAX};
    float nan[8], inf[8];
    memcpy(nan, VECTORS, sizeof nan);
    memcpy(inf, VECTORS, sizeof inf);
    nan[5] = NAN;
    inf[6] = -INFINITY;

    BAD(DIMENSION_MISMATCH, -1, (batch.dimension = 4, batch.count = 2));
    BAD(INVALID_ARGUMENT, 2, batch.vectors = nan);
    BAD(INVALID_ARGUMENT, 3, batch.vectors = inf);
    BAD(INVALID_ARGUMENT, 1, batch.id_offsets = backwards);
    BAD(INVALID_ARGUMENT, 3, batch.id_offsets = outside);
    BAD(INVALID_ARGUMENT, 2, batch.id_offsets = huge);
    BAD(INVALID_ARGUMENT, 1, batch.id_offsets = empty);
    BAD(INVALID_ARGUMENT, 1, (batch.metadata_offsets = backwards));
    BAD(INVALID_ARGUMENT, 3, (batch.metadata_len = 28));
    BAD(INVALID_ARGUMENT, 3, (batch.contents_offsets = ID_OFFSETS));

    static const uint8_t wrong_kind[4] = {0, 1, 3, 0};
    BAD(INVALID_ARGUMENT, 2, (batch.contents = NULL, batch.contents_offsets = NULL, batch.contents_kinds = wrong_kind));
    static const uint8_t all_text[4] = {2, 2, 2, 2};
    static const char not_text[] = "Hello!\xff\xfe\xfd";
    BAD(INVALID_ARGUMENT, 1, (batch.contents = (const uint8_t *)not_text, batch.contents_kinds = all_text));

    static const char *no_objects[] = {"[1, 2]", "null", "\"a\"", "{", "{\"a\":1}x", "{\"a\":NaN}", "\xff{}", " "};
    for (size_t i = 0; i < sizeof no_objects / sizeof *no_objects; i++) {
        uint64_t len = strlen(no_objects[i]);
        uint64_t offsets[5] = {0, 0, len, len, len};
        BAD(INVALID_ARGUMENT, 1, (batch.metadata = no_objects[i], batch.metadata_len = len, batch.metadata_offsets = offsets));
    }

    uint8_t *big = calloc(CYBORG_MAX_CONTENTS_LEN + 1, 1);
    CHECK(big != NULL);
    memset(big, 'x', CYBORG_MAX_CONTENTS_LEN + 1);
    const uint64_t id_limit[5] = {0, 4096, 4097, 8194, 8195}, too_big[5] = {0, 0, 0, 16777217, 16777217};
    BAD(INVALID_ARGUMENT, 2, (batch.ids = big, batch.ids_len = 8195, batch.id_offsets = id_limit));
    BAD(INVALID_ARGUMENT, 2,
        (batch.contents = big, batch.contents_len = CYBORG_MAX_CONTENTS_LEN + 1, batch.contents_offsets = too_big,
         batch.contents_kinds = NULL));
    free(big);

    const uint64_t numbers[4] = {1, 2, 3, 4};
    BAD(INVALID_ARGUMENT, -1, batch.id_numbers = numbers); /* both kinds */
    BAD(INVALID_ARGUMENT, -1, (batch.ids = NULL, batch.id_offsets = NULL, batch.id_numbers = numbers)); /* the other kind */
    BAD(INVALID_ARGUMENT, -1, (batch.count = SIZE_MAX / 8, batch.id_offsets = ID_OFFSETS));
    BAD(INVALID_ARGUMENT, -1, batch.vectors = (const float *)((uintptr_t)VECTORS + 1));

    cyborg_batch batch = four_items();
    cyborg_error *err = NULL;
    batch.dimension = 4, batch.count = 2;
    CHECK(cyborg_index_upsert(index, &batch, NULL, NULL, &err) == CYBORG_STATUS_DIMENSION_MISMATCH);
    CHECK(cyborg_error_needed(err) == 2 && cyborg_error_got(err) == 4);
    cyborg_error_free(err);

    batch = four_items();
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err)); /* the handle is as good as before */
    batch.count = 0;
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    CHECK(count_of(index) == 4);
    cyborg_index_free(index);
}

static void cosine(cyborg_db *db) {
    cyborg_index *index = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.metric = CYBORG_METRIC_COSINE;
    OK(cyborg_index_create(db, "cosine", KEY, 32, &options, &index, &err));
    cyborg_batch batch = four_items();
    float zero[8] = {3, 4, 0, 0, 1, 1, 2, 2};
    batch.vectors = zero;
    EXPECT_ITEM(INVALID_ARGUMENT, 1, cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    zero[3] = 1e-3f;
    OK(cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    cyborg_ids ids = four_ids();
    cyborg_items *items = NULL;
    OK(cyborg_index_get(index, &ids, CYBORG_INCLUDE_VECTOR, &items, &err));
    CHECK(fabsf(cyborg_items_vector(items, 0)[0] - 0.6f) < 1e-6f); /* normalised */
    cyborg_items_free(items);
    const float nothing[2] = {0, 0};
    cyborg_results *results = NULL;
    EXPECT(INVALID_ARGUMENT, cyborg_index_query(index, nothing, 1, 2, NULL, NULL, &results, &err));
    cyborg_index_free(index);
}

static void base64(cyborg_db *db) {
    cyborg_index *index = create_bytes(db, "base64", 0);
    cyborg_batch batch = four_items();
    batch.count = 1;
    /* 1.0f, -2.0f, little-endian */
    static const char text[] = "AACAPwAAAMA=";
    EXPECT(INVALID_ARGUMENT, cyborg_index_upsert_base64(index, &batch, text, strlen(text), NULL, NULL, &err));
    batch.vectors = NULL;
    EXPECT(INVALID_ARGUMENT, cyborg_index_upsert_base64(index, &batch, "AACAPwAA*MA=", 12, NULL, NULL, &err));
    EXPECT(BUFFER_TOO_SMALL, cyborg_index_upsert_base64(index, &batch, "AACAPw==", 8, NULL, NULL, &err));
    EXPECT(BUFFER_TOO_SMALL, cyborg_index_upsert_base64(index, &batch, "AACAPwAAAMAAAIA/", 16, NULL, NULL, &err));
    CHECK(count_of(index) == 0);
    OK(cyborg_index_upsert_base64(index, &batch, text, strlen(text), NULL, NULL, &err));
    cyborg_ids ids = four_ids();
    cyborg_items *items = NULL;
    ids.count = 1;
    OK(cyborg_index_get(index, &ids, CYBORG_INCLUDE_VECTOR, &items, &err));
    CHECK(cyborg_items_vector(items, 0)[0] == 1 && cyborg_items_vector(items, 0)[1] == -2);
    cyborg_items_free(items);
    cyborg_index_free(index);
}

static void listing(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "listing", 2);
    fill_u64(index, 1000, 25, 2);
    cyborg_cursor *cursor = NULL;
    OK(cyborg_index_list_ids(index, &cursor, &err));
    fill_u64(index, 5000, 10, 2); /* not in the snapshot of the cursor */
    uint64_t seen = 0;
    for (size_t page = 0; page < 4; page++) {
        cyborg_items *items = NULL;
        OK(cyborg_cursor_next(cursor, 10, &items, &err));
        CHECK(cyborg_items_count(items) == (page == 0 || page == 1 ? 10u : page == 2 ? 5u : 0u));
        for (size_t i = 0; i < cyborg_items_count(items); i++, seen++) {
            CHECK(cyborg_items_found(items, i) == 1 && cyborg_items_id_u64(items, i) == 1000 + seen);
        }
        cyborg_items_free(items);
    }
    cyborg_cursor_free(cursor);
    cyborg_index_free(index);
}

int main(void) {
    cyborg_db *db = open_memory();
    there_and_back(db);
    replaced_whole(db);
    refused_whole(db);
    cosine(db);
    base64(db);
    listing(db);
    cyborg_db_free(db);
    return 0;
}
