/* The library can be loaded, used and unloaded again and again: no thread, descriptor or crash stays behind. */
#define _GNU_SOURCE
#include "check.h"
#include <dirent.h>
#include <dlfcn.h>
#include <time.h>

static size_t entries(const char *folder) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

/* Looks a function up; data and function pointers have one size here. */
#define GET(library, name)                                                                                             \
    do {                                                                                                               \
        void *symbol = dlsym(library, "cyborg_" #name);                                                                \
        CHECK(symbol != NULL);                                                                                         \
        memcpy(&name, &symbol, sizeof symbol);                                                                         \
    } while (0)

static void use(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    cyborg_status (*db_open)(const char *, const cyborg_db_options *, cyborg_db **, cyborg_error **);
    cyborg_status (*index_create)(cyborg_db *, const char *, const uint8_t *, size_t, const cyborg_index_options *,
                                  cyborg_index **, cyborg_error **);
    cyborg_status (*index_upsert)(cyborg_index *, const cyborg_batch *, const cyborg_call *, cyborg_upsert_result *,
                                  cyborg_error **);
    cyborg_status (*index_train)(cyborg_index *, const cyborg_train_options *, const cyborg_call *, cyborg_training **,
                                 cyborg_error **);
    void (*index_free)(cyborg_index *);
    void (*db_free)(cyborg_db *);
    GET(library, db_open);
    GET(library, index_create);
    GET(library, index_upsert);
    GET(library, index_train);
    GET(library, index_free);
    GET(library, db_free);

    enum { N = 200 };
    float *vectors = random_vectors(N, 4, 1);
    uint64_t ids[N];
    for (uint64_t i = 0; i < N; i++) {
        ids[i] = i;
    }
    cyborg_db *db = NULL;
    cyborg_index *index = NULL;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    cyborg_batch batch = CYBORG_BATCH_INIT;
    options.id_kind = CYBORG_ID_KIND_U64;
    batch.count = N, batch.dimension = 4, batch.vectors = vectors, batch.id_numbers = ids;
    CHECK(db_open("memory:", NULL, &db, NULL) == 0);
    CHECK(index_create(db, "index", KEY, 32, &options, &index, NULL) == 0);
    CHECK(index_upsert(index, &batch, NULL, NULL, NULL) == 0);
    CHECK(index_train(index, NULL, NULL, NULL, NULL) == 0);
    index_free(index);
    db_free(db);
    free(vectors);
    CHECK(dlclose(library) == 0);
}

int main(void) {
    /* The program itself is not linked with the library: it is found on the run path. */
    CHECK(dlsym(RTLD_DEFAULT, "cyborg_version") == NULL);
    use("libcyborg.so.0");
    const size_t threads = entries("/proc/self/task"), files = entries("/proc/self/fd");
    for (int i = 0; i < 20; i++) {
        use("libcyborg.so.0");
    }
    for (int i = 0; i < 1000 && entries("/proc/self/task") != threads; i++) {
        const struct timespec pause = {0, 1000000}; /* the system takes a moment to forget a thread that was joined */
        nanosleep(&pause, NULL);
    }
    CHECK(entries("/proc/self/task") == threads && entries("/proc/self/fd") == files);
    return 0;
}
