/*
 * Introduces: cyborg_error_status, cyborg_error_category, cyborg_error_needed, cyborg_status_http, cyborg_db_drop_index.
 *
 * What goes wrong and how a program tells: a wrong key, an unknown name, a taken name, a wrong dimension, too few
 * vectors. Each failed call changed nothing.
 */
#include <cyborg.h>
#include <stdio.h>

static void show(const char *what, cyborg_error *error) {
    const cyborg_status status = cyborg_error_status(error);
    printf("%s: %s (HTTP %u): %s", what, cyborg_status_name(status), (unsigned)cyborg_status_http(status),
           cyborg_error_message(error));
    if (cyborg_error_needed(error) != 0) {
        printf(" [needed %lu, got %lu]", (unsigned long)cyborg_error_needed(error), (unsigned long)cyborg_error_got(error));
    }
    printf("%s\n", cyborg_error_category(error) == CYBORG_CATEGORY_SECURITY ? " [security]" : "");
    cyborg_error_free(error);
}

int main(void) {
    const uint8_t mine[CYBORG_KEY_LEN] = {1, 2, 3}, theirs[CYBORG_KEY_LEN] = {4, 5, 6};
    const float vectors[] = {1, 2, 3, 4, 5, 6};
    const uint64_t ids[] = {10, 11};
    cyborg_db *db = NULL;
    cyborg_index *index = NULL, *other = NULL;
    cyborg_error *error = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    options.dimension = 3;
    options.id_kind = CYBORG_ID_KIND_U64;
    batch.count = 2;
    batch.dimension = 3;
    batch.vectors = vectors;
    batch.id_numbers = ids;
    if (cyborg_db_open("memory:", NULL, &db, &error) != CYBORG_STATUS_OK ||
        cyborg_index_create(db, "mine", mine, sizeof mine, &options, &index, &error) != CYBORG_STATUS_OK ||
        cyborg_index_upsert(index, &batch, NULL, NULL, &error) != CYBORG_STATUS_OK) {
        show("setting up", error);
        cyborg_index_free(index);
        cyborg_db_free(db);
        return 1;
    }

    cyborg_index_open(db, "mine", theirs, sizeof theirs, NULL, &other, &error);
    show("opening with another key", error);
    cyborg_index_open(db, "yours", mine, sizeof mine, NULL, &other, &error);
    show("opening an unknown name", error);
    cyborg_index_create(db, "mine", mine, sizeof mine, NULL, &other, &error);
    show("creating a name twice", error);
    cyborg_index_open(db, "mine", mine, 16, NULL, &other, &error);
    show("a short key", error);

    batch.dimension = 2, batch.count = 2;
    cyborg_index_upsert(index, &batch, NULL, NULL, &error);
    show("another dimension", error);
    cyborg_train_options train = CYBORG_TRAIN_OPTIONS_INIT;
    train.n_lists = 5;
    cyborg_index_train(index, &train, NULL, NULL, &error);
    show("training two vectors into five lists", error);

    cyborg_db_drop_index(db, "mine", theirs, sizeof theirs, &error);
    show("dropping with another key", error);
    cyborg_db_drop_index(db, "mine", mine, sizeof mine, &error);
    uint64_t count = 0;
    cyborg_index_count(index, &count, &error);
    show("using a dropped index", error);
    cyborg_index_free(index);
    cyborg_index_count(index, &count, &error);
    show("using a freed handle", error);
    cyborg_db_free(db);
    return 0;
}
