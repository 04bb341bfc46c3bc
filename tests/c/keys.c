/* Names and keys: duplicate and unknown names, wrong keys, keys of other indexes, and what a drop leaves. */
#include "check.h"

static void names(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "one", 2), *second = (cyborg_index *)&second;
    EXPECT(ALREADY_EXISTS, cyborg_index_create(db, "one", KEY, 32, NULL, &second, &err));
    CHECK(second == NULL);
    EXPECT(ALREADY_EXISTS, cyborg_index_create(db, "one", OTHER_KEY, 32, NULL, &second, &err));
    EXPECT(NOT_FOUND, cyborg_index_open(db, "two", KEY, 32, NULL, &second, &err));
    EXPECT(NOT_FOUND, cyborg_db_drop_index(db, "two", KEY, 32, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, "", KEY, 32, NULL, &second, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, "\xff\xfe", KEY, 32, NULL, &second, &err));
    char name[CYBORG_MAX_NAME_LEN + 2];
    memset(name, 'n', sizeof name);
    name[CYBORG_MAX_NAME_LEN + 1] = '\0';
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, name, KEY, 32, NULL, &second, &err));
    name[CYBORG_MAX_NAME_LEN] = '\0';
    OK(cyborg_index_create(db, name, KEY, 32, NULL, &second, &err));
    cyborg_index_free(second);
    OK(cyborg_index_create(db, "\xc3\xa9t\xc3\xa9", KEY, 32, NULL, &second, &err));
    cyborg_index_free(second);
    cyborg_names *list = NULL;
    OK(cyborg_db_list_indexes(db, &list, &err));
    size_t len = 0;
    CHECK(cyborg_names_count(list) == 3 && strcmp(cyborg_names_at(list, 1, &len), "one") == 0 && len == 3);
    CHECK(cyborg_names_at(list, 3, &len) == NULL && len == 0);
    cyborg_index_free(index);
    OK(cyborg_db_drop_index(db, name, KEY, 32, &err));
    CHECK(strlen(cyborg_names_at(list, 0, NULL)) == CYBORG_MAX_NAME_LEN); /* the list stays as it was */
    cyborg_names_free(list);
}

static void keys(cyborg_db *db) {
    cyborg_index *mine = NULL, *theirs = NULL, *none = (cyborg_index *)&none;
    OK(cyborg_index_open(db, "one", KEY, 32, NULL, &mine, &err));
    OK(cyborg_index_create(db, "theirs", OTHER_KEY, 32, NULL, &theirs, &err));
    fill_u64(mine, 0, 10, 2);
    EXPECT(WRONG_KEY, cyborg_index_open(db, "one", OTHER_KEY, 32, NULL, &none, &err)); /* while it is open */
    CHECK(none == NULL);
    EXPECT(WRONG_KEY, cyborg_index_open(db, "theirs", KEY, 32, NULL, &none, &err));
    EXPECT(WRONG_KEY, cyborg_db_drop_index(db, "one", OTHER_KEY, 32, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_index_open(db, "one", KEY, 31, NULL, &none, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_index_open(db, "one", KEY, 0, NULL, &none, &err));
    uint8_t bit[32];
    for (int i = 0; i < 256; i += 37) {
        memcpy(bit, KEY, 32);
        bit[i / 8] ^= (uint8_t)(1 << i % 8);
        EXPECT(WRONG_KEY, cyborg_index_open(db, "one", bit, 32, NULL, &none, &err));
    }
    cyborg_index *same = NULL;
    OK(cyborg_index_open(db, "one", KEY, 32, NULL, &same, &err));
    fill_u64(same, 10, 10, 2);
    CHECK(count_of(mine) == 20); /* two handles, one index */
    cyborg_index_free(same);
    cyborg_index_free(mine);
    EXPECT(WRONG_KEY, cyborg_index_open(db, "one", OTHER_KEY, 32, NULL, &none, &err)); /* while it is not */
    OK(cyborg_index_open(db, "one", KEY, 32, NULL, &mine, &err));
    CHECK(count_of(mine) == 20);
    cyborg_index_free(mine);
    cyborg_index_free(theirs);
}

static void dropped(cyborg_db *db) {
    cyborg_index *index = NULL;
    OK(cyborg_index_open(db, "one", KEY, 32, NULL, &index, &err));
    cyborg_cursor *cursor = NULL;
    OK(cyborg_index_list_ids(index, &cursor, &err));
    OK(cyborg_db_drop_index(db, "one", KEY, 32, &err));
    uint64_t n = 0, id = 1;
    float v[2] = {1, 2};
    cyborg_results *results = NULL;
    cyborg_ids ids = CYBORG_IDS_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    ids.count = 1, ids.id_numbers = &id;
    batch.count = 1, batch.dimension = 2, batch.vectors = v, batch.id_numbers = &id;
    EXPECT(CLOSED, cyborg_index_count(index, &n, &err));
    EXPECT(CLOSED, cyborg_index_upsert(index, &batch, NULL, NULL, &err));
    EXPECT(CLOSED, cyborg_index_delete(index, &ids, &n, &err));
    EXPECT(CLOSED, cyborg_index_query(index, v, 1, 2, NULL, NULL, &results, &err));
    EXPECT(CLOSED, cyborg_index_train(index, NULL, NULL, NULL, &err));
    EXPECT(CLOSED, cyborg_index_verify(index, NULL, &err));
    cyborg_cursor_free(cursor);
    cyborg_index *again = create_u64(db, "one", 2); /* the name is free at once */
    CHECK(count_of(again) == 0);
    EXPECT(CLOSED, cyborg_index_count(index, &n, &err));
    cyborg_index_free(index);
    CHECK(count_of(again) == 0);
    cyborg_index_free(again);
}

int main(void) {
    cyborg_db *db = open_memory();
    names(db);
    keys(db);
    dropped(db);
    cyborg_db_free(db);
    return 0;
}
