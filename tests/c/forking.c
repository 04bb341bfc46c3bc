/* After fork() the child is told so, can free, and can work with stores of its own; the parent notices nothing. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <sys/wait.h>
#include <unistd.h>

static void child(cyborg_db *db, cyborg_index *index, cyborg_cursor *cursor) {
    uint64_t n = 0;
    float v[2] = {1, 2};
    cyborg_names *names = NULL;
    cyborg_results *results = NULL;
    EXPECT(FORKED, cyborg_db_list_indexes(db, &names, &err));
    EXPECT(FORKED, cyborg_index_count(index, &n, &err));
    EXPECT(FORKED, cyborg_index_query(index, v, 1, 2, NULL, NULL, &results, &err));
    EXPECT(FORKED, cyborg_db_close(db, &err));
    cyborg_items *items = NULL;
    EXPECT(FORKED, cyborg_cursor_next(cursor, 1, &items, &err));
    cyborg_cursor_free(cursor);
    cyborg_index_free(index);
    cyborg_db_free(db);
    EXPECT(INVALID_HANDLE, cyborg_index_count(index, &n, &err));
    cyborg_db *own = open_memory();
    cyborg_index *mine = create_u64(own, "child", 2);
    fill_u64(mine, 0, 10, 2);
    CHECK(count_of(mine) == 10);
    cyborg_index_free(mine);
    cyborg_db_free(own);
    _exit(0);
}

int main(void) {
    cyborg_db *db = open_memory();
    cyborg_index *index = create_u64(db, "parent", 2);
    fill_u64(index, 0, 100, 2);
    cyborg_cursor *cursor = NULL;
    OK(cyborg_index_list_ids(index, &cursor, &err));
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            child(db, index, cursor);
        }
        int status = -1;
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        OK(cyborg_index_train(index, NULL, NULL, NULL, &err));
        CHECK(count_of(index) == 100);
    }
    OK(cyborg_index_verify(index, NULL, &err));
    /* Now the cursor alone keeps the db, with its threads: a child that frees it must not wait for them. */
    cyborg_index_free(index);
    cyborg_db_free(db);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        cyborg_cursor_free(cursor);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cyborg_cursor_free(cursor);
    return 0;
}
