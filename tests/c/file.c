/* A store in a file: durable, one writer, readers beside it, and clear words when it is not what it should be. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <unistd.h>

static char url[80], path[64];

static cyborg_status open_file(uint32_t read_only, cyborg_db **db) {
    cyborg_db_options options = CYBORG_DB_OPTIONS_INIT;
    options.read_only = read_only;
    return cyborg_db_open(url, &options, db, NULL);
}

int main(void) {
    char folder[] = "/tmp/cyborg-c-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/store", folder);
    snprintf(url, sizeof url, "file:%s", path);
    cyborg_db *db = NULL, *second = (cyborg_db *)&second;
    CHECK(open_file(1, &second) != CYBORG_STATUS_OK && second == NULL); /* reading does not make a store */
    CHECK(open_file(0, &db) == CYBORG_STATUS_OK);
    CHECK(open_file(0, &second) == CYBORG_STATUS_BUSY && second == NULL);
    cyborg_index *index = create_u64(db, "index", 4), *other = NULL;
    fill_u64(index, 0, 200, 4);

    CHECK(open_file(1, &second) == CYBORG_STATUS_OK);
    OK(cyborg_index_open(second, "index", KEY, 32, NULL, &other, &err));
    CHECK(count_of(other) == 200);
    uint64_t id = 1, n = 0;
    cyborg_ids ids = CYBORG_IDS_INIT;
    ids.count = 1, ids.id_numbers = &id;
    EXPECT(READ_ONLY, cyborg_index_delete(other, &ids, &n, &err));
    EXPECT(READ_ONLY, cyborg_db_drop_index(second, "index", KEY, 32, &err));
    cyborg_index_free(other);
    cyborg_db_free(second);

    OK(cyborg_index_train(index, NULL, NULL, NULL, &err));
    OK(cyborg_index_delete(index, &ids, &n, &err));
    CHECK(n == 1);
    cyborg_index_free(index);
    cyborg_db_free(db);

    CHECK(open_file(0, &db) == CYBORG_STATUS_OK); /* the writer's place is free again */
    EXPECT(WRONG_KEY, cyborg_index_open(db, "index", OTHER_KEY, 32, NULL, &index, &err));
    OK(cyborg_index_open(db, "index", KEY, 32, NULL, &index, &err));
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.count == 199 && info.trained == 1 && info.dimension == 4);
    OK(cyborg_index_verify(index, NULL, &err));
    cyborg_index_free(index);
    OK(cyborg_db_close(db, &err));
    cyborg_db_free(db);
    CHECK(open_file(0, &second) == CYBORG_STATUS_OK);
    cyborg_db_free(second);

    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite("not a store, but long enough to look at", 1, 39, file) == 39 && fclose(file) == 0);
    CHECK(open_file(0, &db) != CYBORG_STATUS_OK && db == NULL);
    EXPECT(IO, cyborg_db_open("file:/nonexistent/folder/store", NULL, &db, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_db_open("file:", NULL, &db, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_db_open("", NULL, &db, &err));
    static const char *const beside[] = {"", "-wal", "-shm", "-lock"};
    char name[80];
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        snprintf(name, sizeof name, "%s%s", path, beside[i]);
        unlink(name);
    }
    CHECK(rmdir(folder) == 0); /* nothing else was left */
    return 0;
}
