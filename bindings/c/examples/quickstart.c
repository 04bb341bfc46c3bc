/*
 * Introduces: cyborg_db_open, cyborg_index_create, cyborg_index_upsert, cyborg_index_query, cyborg_index_get.
 *
 * Three items with text ids, metadata and contents go in; the nearest to a vector come out. The store is in memory: for
 * one that lasts, open "file:PATH" and keep the key.
 */
#include <cyborg.h>
#include <stdio.h>
#include <string.h>

/* Ends the program with the library's own words when a call fails. */
static int failed(cyborg_status status, cyborg_error *error) {
    if (status != CYBORG_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", cyborg_status_name(status), cyborg_error_message(error));
        cyborg_error_free(error);
    }
    return status != CYBORG_STATUS_OK;
}

int main(void) {
    cyborg_db *db = NULL;
    cyborg_index *index = NULL;
    cyborg_results *results = NULL;
    cyborg_error *error = NULL;
    int result = 1;

    /* 32 random bytes. Whoever has them can read the index; without them nobody can. */
    const uint8_t key[CYBORG_KEY_LEN] = {0x6b, 0x1f, 0x93, 0x42, 0x07, 0xd8, 0xee, 0x5a, 0x31, 0xbc, 0x74,
                                         0x0d, 0x99, 0x26, 0xf3, 0x58, 0xc1, 0x8e, 0x45, 0xaa, 0x12, 0x67,
                                         0xdf, 0x3b, 0x80, 0x5c, 0xe9, 0x24, 0xb7, 0x0a, 0x76, 0xfd};

    /* Columns of byte strings: one buffer and count + 1 offsets. */
    const float vectors[] = {0.1f, 0.2f, 0.3f, 0.4f, 0.9f, 0.8f, 0.7f, 0.6f, 0.1f, 0.2f, 0.3f, 0.5f};
    const char ids[] = "item_1item_2item_3";
    const uint64_t id_offsets[] = {0, 6, 12, 18};
    const char metadata[] = "{\"name\": \"Alice\"}{\"name\": \"Bob\"}";
    const uint64_t metadata_offsets[] = {0, 17, 32, 32}; /* the third has none */
    const char contents[] = "Hello!Goodbye!Hello again!";
    const uint64_t contents_offsets[] = {0, 6, 14, 26};
    const uint8_t kinds[] = {CYBORG_CONTENTS_TEXT, CYBORG_CONTENTS_TEXT, CYBORG_CONTENTS_TEXT};

    cyborg_batch batch = CYBORG_BATCH_INIT;
    batch.count = 3;
    batch.dimension = 4;
    batch.vectors = vectors;
    batch.ids = (const uint8_t *)ids;
    batch.ids_len = strlen(ids);
    batch.id_offsets = id_offsets;
    batch.metadata = metadata;
    batch.metadata_len = strlen(metadata);
    batch.metadata_offsets = metadata_offsets;
    batch.contents = (const uint8_t *)contents;
    batch.contents_len = strlen(contents);
    batch.contents_offsets = contents_offsets;
    batch.contents_kinds = kinds;

    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    options.top_k = 2;
    options.include = CYBORG_INCLUDE_DISTANCE | CYBORG_INCLUDE_METADATA | CYBORG_INCLUDE_CONTENTS;
    const float wanted[] = {0.1f, 0.2f, 0.3f, 0.42f};

    if (failed(cyborg_db_open("memory:", NULL, &db, &error), error) ||
        failed(cyborg_index_create(db, "people", key, sizeof key, NULL, &index, &error), error) ||
        failed(cyborg_index_upsert(index, &batch, NULL, NULL, &error), error) ||
        failed(cyborg_index_query(index, wanted, 1, 4, &options, NULL, &results, &error), error)) {
        goto end;
    }
    for (size_t rank = 0; rank < cyborg_results_count(results, 0); rank++) {
        size_t id_len = 0, metadata_len = 0, contents_len = 0;
        const uint8_t *id = cyborg_results_id(results, 0, rank, &id_len);
        const char *json = cyborg_results_metadata(results, 0, rank, &metadata_len);
        const uint8_t *text = cyborg_results_contents(results, 0, rank, &contents_len, NULL);
        printf("%.*s at %.3f: \"%.*s\" %.*s\n", (int)id_len, (const char *)id,
               (double)cyborg_results_distance(results, 0, rank), (int)contents_len, (const char *)text,
               (int)metadata_len, json);
    }
    result = 0;
end: /* everything may be NULL and freed in any order */
    cyborg_results_free(results);
    cyborg_index_free(index);
    cyborg_db_free(db);
    return result;
}
