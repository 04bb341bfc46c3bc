/* A program outside the tree: knows cyborg only through what was installed. */
#include <cyborg.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    cyborg_db *db = NULL;
    cyborg_index *index = NULL;
    cyborg_error *error = NULL;
    const uint8_t key[CYBORG_KEY_LEN] = {1};
    const float vector[3] = {1, 2, 3};
    const uint64_t id = 42;
    uint64_t found = 0;
    uint32_t count = 0;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    cyborg_query_options query = CYBORG_QUERY_OPTIONS_INIT;
    options.id_kind = CYBORG_ID_KIND_U64;
    batch.count = 1, batch.dimension = 3, batch.vectors = vector, batch.id_numbers = &id;
    query.top_k = 1;
    char header[32];
    snprintf(header, sizeof header, "%d.%d.%d", CYBORG_VERSION_MAJOR, CYBORG_VERSION_MINOR, CYBORG_VERSION_PATCH);
    const int bad = strcmp(header, cyborg_version()) != 0 || cyborg_abi_version() != CYBORG_ABI_VERSION ||
                    cyborg_db_open("memory:", NULL, &db, &error) ||
                    cyborg_index_create(db, "index", key, sizeof key, &options, &index, &error) ||
                    cyborg_index_upsert(index, &batch, NULL, NULL, &error) ||
                    cyborg_index_train(index, NULL, NULL, NULL, NULL) != CYBORG_STATUS_INSUFFICIENT_VECTORS ||
                    cyborg_index_query_into(index, vector, 1, 3, &query, NULL, &found, NULL, &count, &error) ||
                    count != 1 || found != 42;
    if (bad) {
        fprintf(stderr, "%s %s: %s\n", header, cyborg_version(), cyborg_error_message(error));
    } else {
        printf("%s\n", cyborg_build_info());
    }
    cyborg_error_free(error);
    cyborg_index_free(index);
    cyborg_db_free(db);
    return bad;
}
