/*
 * The main job on real data: cyborg_db_open, cyborg_index_create, cyborg_index_upsert, cyborg_index_train,
 * cyborg_training_poll, cyborg_index_query, cyborg_index_compact, cyborg_index_open, errors and statuses.
 *
 *     demo tests/data/words.bin [FOLDER]
 *
 * Indexes 20,000 words in a store of its own, trains while it queries, shows neighbours and recall against an exact
 * search of its own, then closes the store and looks for the words in its bytes. The store lies in a new folder below
 * FOLDER (default /tmp), which is removed at the end. Exit status 0 means that everything came out as it should.
 */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cyborg.h"
#include "words.h"

enum { BATCH = 5000, NEIGHBOURS = 10, RECALL_QUERIES = 500, LONG_WORD = 8 };

static char folder[512], path[600];

/* --- small tools -------------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Calls `use` with the path of each file in the folder. */
static void each_file(void (*use)(const char *file, void *user), void *user) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char file[900];
        if (entry->d_name[0] == '.') continue;
        snprintf(file, sizeof file, "%s/%s", folder, entry->d_name);
        use(file, user);
    }
    if (dir != NULL) closedir(dir);
}

static void add_size(const char *file, void *user) {
    struct stat about;
    if (stat(file, &about) == 0) *(double *)user += 1e-6 * (double)about.st_size;
}

/* What the store takes on disk now. */
static double megabytes(void) {
    double sum = 0;
    each_file(add_size, &sum);
    return sum;
}

static void remove_file(const char *file, void *user) {
    (void)user;
    remove(file);
}

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("demo: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
    each_file(remove_file, NULL);
    rmdir(folder);
    exit(1);
}

/* Every call of the library goes through here: a status that is not OK ends the demo with the error's own words. */
static void check(cyborg_status status, cyborg_error *error) {
    if (status == CYBORG_STATUS_OK) return;
    fail("%s: %s", cyborg_status_name(status), cyborg_error_message(error));
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (memory == NULL) fail("no memory");
    return memory;
}

/* --- the words as a batch ----------------------------------------------------------------------------------------- */

/* A growing column of byte strings: one buffer and count + 1 offsets, as cyborg_batch wants them. */
typedef struct column {
    char *data;
    size_t length, room, count;
    uint64_t offsets[BATCH + 1];
} column;

static void column_add(column *c, const char *bytes, size_t length) {
    if (c->length + length > c->room) {
        char *larger = realloc(c->data, c->room = 2 * (c->length + length) + 65536);
        if (larger == NULL) fail("no memory");
        c->data = larger;
    }
    memcpy(c->data + c->length, bytes, length);
    c->length += length;
    c->offsets[++c->count] = c->length;
}

/* {"word":"...","rank":17}: a word may hold a quotation mark or a backslash. */
static size_t write_metadata(char *out, const char *word, size_t length, uint32_t rank) {
    size_t n = (size_t)sprintf(out, "{\"word\":\""), i;
    for (i = 0; i < length; i++) {
        if (word[i] == '"' || word[i] == '\\') out[n++] = '\\';
        out[n++] = word[i];
    }
    return n + (size_t)sprintf(out + n, "\",\"rank\":%u}", (unsigned)rank);
}

static void upsert_words(cyborg_index *index, const words *w) {
    column *ids = allocate(1, sizeof *ids), *metadata = allocate(1, sizeof *metadata);
    column *contents = allocate(1, sizeof *contents);
    uint8_t kinds[BATCH];
    uint32_t first, i;
    memset(kinds, CYBORG_CONTENTS_TEXT, sizeof kinds);
    for (first = 0; first < w->count; first += BATCH) {
        const uint32_t end = first + BATCH < w->count ? first + BATCH : w->count;
        cyborg_batch batch = CYBORG_BATCH_INIT;
        cyborg_error *error = NULL;
        ids->length = ids->count = metadata->length = metadata->count = contents->length = contents->count = 0;
        for (i = first; i < end; i++) {
            char text[2600];
            size_t length;
            const char *word = words_text(w, i, &length);
            if (length > 1000) fail("word %u is longer than a word", (unsigned)i);
            column_add(ids, word, length);
            column_add(metadata, text, write_metadata(text, word, length, i + 1));
            column_add(contents, text, (size_t)snprintf(text, sizeof text, "%.*s is word number %u by frequency.",
                                                        (int)length, word, (unsigned)(i + 1)));
        }
        batch.count = end - first;
        batch.dimension = w->dimension;
        batch.vectors = words_vector(w, first);
        batch.ids = (const uint8_t *)ids->data, batch.ids_len = ids->length, batch.id_offsets = ids->offsets;
        batch.metadata = metadata->data, batch.metadata_len = metadata->length;
        batch.metadata_offsets = metadata->offsets;
        batch.contents = (const uint8_t *)contents->data, batch.contents_len = contents->length;
        batch.contents_offsets = contents->offsets, batch.contents_kinds = kinds;
        check(cyborg_index_upsert(index, &batch, NULL, NULL, &error), error);
    }
    free(ids->data), free(metadata->data), free(contents->data);
    free(ids), free(metadata), free(contents);
}

/* --- searching ---------------------------------------------------------------------------------------------------- */

static cyborg_results *query(cyborg_index *index, const words *w, uint32_t word, uint32_t top_k, uint32_t include) {
    cyborg_query_options options = CYBORG_QUERY_OPTIONS_INIT;
    cyborg_results *results = NULL;
    cyborg_error *error = NULL;
    options.top_k = top_k;
    options.include = include;
    check(cyborg_index_query(index, words_vector(w, word), 1, w->dimension, &options, NULL, &results, &error), error);
    return results;
}

/* The word's neighbours without itself, on one line. */
static void show_neighbours(cyborg_index *index, const words *w, const char *text) {
    const uint32_t word = words_find(w, text);
    cyborg_results *results;
    size_t rank, shown = 0;
    if (word == w->count) fail("\"%s\" is not among the words", text);
    results = query(index, w, word, 8, CYBORG_INCLUDE_DISTANCE);
    printf("   %-12s", text);
    for (rank = 0; rank < cyborg_results_count(results, 0) && shown < 7; rank++) {
        size_t length = 0;
        const uint8_t *id = cyborg_results_id(results, 0, rank, &length);
        if (length == strlen(text) && memcmp(id, text, length) == 0) continue;
        printf("%s%.*s %.2f", shown++ > 0 ? ", " : "", (int)length, (const char *)id,
               (double)cyborg_results_distance(results, 0, rank));
    }
    putchar('\n');
    cyborg_results_free(results);
}

/* The positions of the NEIGHBOURS words nearest to `word` by cosine, itself left out, found by looking at every word. */
static void exact_search(const float *unit, const words *w, uint32_t word, uint32_t best[NEIGHBOURS]) {
    const uint32_t dim = w->dimension;
    const float *q = unit + (size_t)word * dim;
    float score[NEIGHBOURS];
    uint32_t found = 0, i, j;
    for (i = 0; i < w->count; i++) {
        const float *v = unit + (size_t)i * dim;
        float sum[4] = {0, 0, 0, 0}, s;
        uint32_t place;
        for (j = 0; j + 4 <= dim; j += 4) {
            sum[0] += q[j] * v[j], sum[1] += q[j + 1] * v[j + 1];
            sum[2] += q[j + 2] * v[j + 2], sum[3] += q[j + 3] * v[j + 3];
        }
        for (s = sum[0] + sum[1] + sum[2] + sum[3]; j < dim; j++) s += q[j] * v[j];
        if (i == word || (found == NEIGHBOURS && s <= score[NEIGHBOURS - 1])) continue;
        for (place = found < NEIGHBOURS ? found++ : NEIGHBOURS - 1; place > 0 && score[place - 1] < s; place--) {
            score[place] = score[place - 1], best[place] = best[place - 1];
        }
        score[place] = s, best[place] = i;
    }
}

static float *unit_vectors(const words *w) {
    float *unit = allocate((size_t)w->count * w->dimension, sizeof *unit);
    uint32_t i, j;
    for (i = 0; i < w->count; i++) {
        const float *v = words_vector(w, i);
        double norm = 0;
        for (j = 0; j < w->dimension; j++) norm += (double)v[j] * v[j];
        for (j = 0; j < w->dimension; j++) unit[(size_t)i * w->dimension + j] = (float)(v[j] / sqrt(norm));
    }
    return unit;
}

/* Share of the exact neighbours of evenly spread words that the index finds with automatic probes. */
static double recall(cyborg_index *index, const words *w, double *query_ms, double *exact_ms) {
    float *unit = unit_vectors(w);
    double in_query = 0, in_exact = 0;
    size_t hits = 0;
    uint32_t k;
    for (k = 0; k < RECALL_QUERIES; k++) {
        const uint32_t word = (uint32_t)((uint64_t)k * w->count / RECALL_QUERIES);
        uint32_t best[NEIGHBOURS], i;
        size_t rank;
        cyborg_results *results;
        double start = now();
        exact_search(unit, w, word, best);
        in_exact += now() - start, start = now();
        results = query(index, w, word, NEIGHBOURS + 1, 0); /* the word itself is its own nearest */
        in_query += now() - start;
        for (rank = 0; rank < cyborg_results_count(results, 0); rank++) {
            size_t length = 0, wanted;
            const uint8_t *id = cyborg_results_id(results, 0, rank, &length);
            for (i = 0; i < NEIGHBOURS; i++) {
                const char *text = words_text(w, best[i], &wanted);
                if (wanted == length && memcmp(text, id, length) == 0) hits++;
            }
        }
        cyborg_results_free(results);
    }
    free(unit);
    *query_ms = 1e3 * in_query / RECALL_QUERIES;
    *exact_ms = 1e3 * in_exact / RECALL_QUERIES;
    return (double)hits / (RECALL_QUERIES * NEIGHBOURS);
}

/* --- training in the background ----------------------------------------------------------------------------------- */

static const char *phase_name(cyborg_phase phase) {
    switch (phase) {
        case CYBORG_PHASE_QUEUED: return "queued";
        case CYBORG_PHASE_SAMPLING: return "sampling";
        case CYBORG_PHASE_CLUSTERING: return "clustering";
        case CYBORG_PHASE_QUANTIZER: return "quantizer";
        case CYBORG_PHASE_ENCODING: return "encoding";
        case CYBORG_PHASE_CALIBRATING: return "calibrating";
        case CYBORG_PHASE_PUBLISHING: return "publishing";
        default: return "working";
    }
}

/* On a terminal a bar that is drawn over itself, elsewhere one line a phase. */
static void draw(const cyborg_training_progress *p, uint32_t queries, cyborg_phase *drawn) {
    static const char full[] = "####################";
    const double share = p->total > 0 ? (double)p->done / (double)p->total : 0;
    const int ticks = share < 1 ? (int)(20 * share) : 20;
    const int terminal = isatty(STDOUT_FILENO);
    if (!terminal && p->phase == *drawn) return;
    *drawn = p->phase;
    printf("%s   %-12s [%-20.*s] %5.2f s, %u queries answered meanwhile%s", terminal ? "\r" : "", phase_name(p->phase),
           ticks, full, 1e-3 * (double)p->elapsed_ms, (unsigned)queries, terminal ? "  " : "\n");
    fflush(stdout);
}

static void train(cyborg_index *index, const words *w) {
    cyborg_training *job = NULL;
    cyborg_error *error = NULL;
    cyborg_training_progress p = CYBORG_TRAINING_PROGRESS_INIT;
    cyborg_phase drawn = 0;
    uint32_t queries = 0, word = 1;
    double slowest = 0, drawn_at = 0;
    check(cyborg_index_train(index, NULL, NULL, &job, &error), error);
    for (;;) {
        double start;
        check(cyborg_training_poll(job, &p, &error), error);
        if (p.state != CYBORG_TRAINING_QUEUED && p.state != CYBORG_TRAINING_RUNNING) break;
        if (now() - drawn_at > 0.05) draw(&p, queries, &drawn), drawn_at = now();
        word = (uint32_t)((uint64_t)word * 48271 % 2147483647);
        start = now();
        cyborg_results_free(query(index, w, word % w->count, NEIGHBOURS, 0));
        if (now() - start > slowest) slowest = now() - start;
        queries++;
    }
    drawn = 0;
    draw(&p, queries, &drawn);
    check(cyborg_training_result(job, &error), error);
    cyborg_training_free(job);
    printf("%s   slowest of these queries %.1f ms\n", isatty(STDOUT_FILENO) ? "\n" : "", 1e3 * slowest);
}

/* --- what the file shows ------------------------------------------------------------------------------------------ */

/* The words of LONG_WORD bytes and more, sorted, with what was found of them. Shorter ones occur in random bytes. */
typedef struct hunt {
    const words *w;
    uint32_t *word;
    uint8_t *found;
    size_t count, hits;
    uint8_t starts[65536]; /* whether a word begins with these two bytes */
} hunt;

static const words *sorted_words;

static int compare_words(const void *a, const void *b) {
    size_t la, lb;
    const char *ta = words_text(sorted_words, *(const uint32_t *)a, &la);
    const char *tb = words_text(sorted_words, *(const uint32_t *)b, &lb);
    const int order = memcmp(ta, tb, la < lb ? la : lb);
    return order != 0 ? order : (la > lb) - (la < lb);
}

static hunt *hunt_begin(const words *w) {
    hunt *h = allocate(1, sizeof *h);
    uint32_t i;
    h->w = w;
    h->word = allocate(w->count, sizeof *h->word);
    h->found = allocate(w->count, 1);
    for (i = 0; i < w->count; i++) {
        size_t length;
        const unsigned char *text = (const unsigned char *)words_text(w, i, &length);
        if (length < LONG_WORD) continue;
        h->word[h->count++] = i;
        h->starts[text[0] << 8 | text[1]] = 1;
    }
    sorted_words = w;
    qsort(h->word, h->count, sizeof *h->word, compare_words);
    return h;
}

static void hunt_end(hunt *h) {
    free(h->word), free(h->found), free(h);
}

/* Marks every word that stands at `text`: those between the first and the last that begin with its first bytes. */
static void hunt_at(hunt *h, const unsigned char *text, size_t left) {
    size_t low = 0, high = h->count, length;
    while (low < high) { /* first word that is not below the LONG_WORD bytes at text */
        const size_t middle = (low + high) / 2;
        if (memcmp(words_text(h->w, h->word[middle], &length), text, LONG_WORD) < 0) low = middle + 1;
        else high = middle;
    }
    for (; low < h->count; low++) {
        const char *word = words_text(h->w, h->word[low], &length);
        if (memcmp(word, text, LONG_WORD) != 0) return;
        if (length <= left && memcmp(word, text, length) == 0 && !h->found[low]) h->found[low] = 1, h->hits++;
    }
}

static void hunt_bytes(hunt *h, const unsigned char *bytes, size_t size) {
    size_t i;
    for (i = 0; i + LONG_WORD <= size; i++) {
        if (h->starts[bytes[i] << 8 | bytes[i + 1]]) hunt_at(h, bytes + i, size - i);
    }
}

static void hunt_file(const char *file, void *user) {
    size_t size = 0;
    unsigned char *bytes = words_slurp(file, &size);
    if (bytes == NULL) fail("%s cannot be read", file);
    hunt_bytes(user, bytes, size);
    free(bytes);
}

/* The words in the store's files now; `known` (may be NULL) are those that were there before any item was. */
static size_t words_in_store(hunt *h, const uint8_t *known) {
    size_t i, fresh = 0;
    h->hits = 0;
    memset(h->found, 0, h->count);
    each_file(hunt_file, h);
    for (i = 0; i < h->count; i++) fresh += h->found[i] && (known == NULL || !known[i]);
    return fresh;
}

/* --- the demo ----------------------------------------------------------------------------------------------------- */

static cyborg_db *open_db(void) {
    char url[700];
    cyborg_db *db = NULL;
    cyborg_error *error = NULL;
    snprintf(url, sizeof url, "file:%s", path);
    check(cyborg_db_open(url, NULL, &db, &error), error);
    return db;
}

static void close_db(cyborg_db *db, cyborg_index *index) {
    cyborg_error *error = NULL;
    cyborg_index_free(index);
    check(cyborg_db_close(db, &error), error);
    cyborg_db_free(db);
}

static void fresh_key(uint8_t key[CYBORG_KEY_LEN]) {
    FILE *random = fopen("/dev/urandom", "rb");
    if (random == NULL || fread(key, 1, CYBORG_KEY_LEN, random) != CYBORG_KEY_LEN) fail("no random bytes for a key");
    fclose(random);
}

int main(int argc, char **argv) {
    static const char *const shown[] = {"king", "physics", "paris", "guitar", "monday", "football", "oxygen"};
    uint8_t key[CYBORG_KEY_LEN], other_key[CYBORG_KEY_LEN], *known;
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    cyborg_error *error = NULL;
    cyborg_index *index = NULL;
    cyborg_status status;
    cyborg_db *db;
    double start, before, query_ms, exact_ms, share;
    size_t i, leaked;
    hunt *h, *control;
    words w;
    const char *why = words_load(argc > 1 ? argv[1] : "tests/data/words.bin", &w);
    if (why != NULL) return fprintf(stderr, "demo: %s\n", why), 1;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);

    snprintf(folder, sizeof folder, "%.480s/cyborg-demo-XXXXXX", argc > 2 ? argv[2] : "/tmp");
    if (mkdtemp(folder) == NULL) return fprintf(stderr, "demo: no folder %s\n", folder), 1;
    snprintf(path, sizeof path, "%s/words.cyborg", folder);
    fresh_key(key), fresh_key(other_key);
    printf("cyborg %s (%s)\nfile:%s\n\n", cyborg_version(), cyborg_build_info(), path);

    db = open_db();
    options.dimension = w.dimension;
    options.metric = CYBORG_METRIC_COSINE;
    options.auto_train_disabled = 1; /* trained below, so that it can be watched */
    check(cyborg_index_create(db, "words", key, sizeof key, &options, &index, &error), error);
    h = hunt_begin(&w);
    words_in_store(h, NULL); /* SQLite's own schema may hold a word: those are not ours */
    known = allocate(h->count, 1);
    memcpy(known, h->found, h->count);

    start = now();
    upsert_words(index, &w);
    printf("1. %u words with metadata and contents upserted, durable: %.2f s\n", (unsigned)w.count, now() - start);

    puts("2. training in the background");
    train(index, &w);
    check(cyborg_index_describe(index, &info, &error), error);
    printf("   %u lists; %u of them are probed for a recall of %.2f\n", (unsigned)info.n_lists,
           (unsigned)info.auto_probes, (double)info.target_recall);

    puts("3. neighbours (cosine distance)");
    for (i = 0; i < sizeof shown / sizeof *shown; i++) show_neighbours(index, &w, shown[i]);

    share = recall(index, &w, &query_ms, &exact_ms);
    printf("4. recall@%d of %d queries against exact search: %.4f; %.3f ms a query, exact search here %.3f ms\n", NEIGHBOURS,
           RECALL_QUERIES, share, query_ms, exact_ms);

    before = megabytes();
    check(cyborg_index_compact(index, NULL, &error), error);
    close_db(db, index);
    printf("5. compacted and closed: the store takes %.1f MB, before %.1f MB (the vectors alone: %.1f MB)\n", megabytes(),
           before, 4e-6 * w.count * w.dimension);
    leaked = words_in_store(h, known);
    control = hunt_begin(&w);
    hunt_bytes(control, (const unsigned char *)w.text, (size_t)w.offsets[w.count]);
    printf("   %lu words of %d letters or more looked for at every byte: %lu found (in the plain list: %lu)\n",
           (unsigned long)h->count, LONG_WORD, (unsigned long)leaked, (unsigned long)control->hits);

    db = open_db();
    index = NULL;
    status = cyborg_index_open(db, "words", other_key, sizeof other_key, NULL, &index, &error);
    printf("6. opened again with another key: %s, \"%s\"\n", cyborg_status_name(status), cyborg_error_message(error));
    cyborg_error_free(error), error = NULL;
    if (status != CYBORG_STATUS_WRONG_KEY || index != NULL) fail("the wrong key was not refused");
    start = now();
    check(cyborg_index_open(db, "words", key, sizeof key, NULL, &index, &error), error);
    printf("   with its own key: open in %.1f ms\n", 1e3 * (now() - start));
    check(cyborg_index_describe(index, &info, &error), error);
    show_neighbours(index, &w, shown[0]);
    close_db(db, index);

    if (info.count != w.count || !info.trained) fail("%lu items came back", (unsigned long)info.count);
    if (leaked > 0) fail("words stand in the file");
    if (control->hits != control->count) fail("the search for words is broken");
    if (share < 0.9) fail("recall is too low");
    each_file(remove_file, NULL);
    rmdir(folder);
    hunt_end(h), hunt_end(control), words_free(&w), free(known);
    return 0;
}
