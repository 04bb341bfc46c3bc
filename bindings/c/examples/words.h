/*
 * Reader of tests/data/words.bin: word vectors with one byte a value. Layout: tests/data/README.md.
 *
 * Header only, C99, no dependency. Every length in the file is checked against the file's size before it is used, so a
 * damaged or truncated file is refused with a reason and never read past its end.
 *
 *     words w;
 *     const char *why = words_load("tests/data/words.bin", &w);
 *     if (why != NULL) { fprintf(stderr, "words: %s\n", why); return 1; }
 *     size_t length;
 *     const char *first = words_text(&w, 0, &length);       ("the", not NUL-terminated)
 *     const float *vector = words_vector(&w, 0);            (w.dimension values)
 *     words_free(&w);
 */
#ifndef CYBORG_EXAMPLES_WORDS_H
#define CYBORG_EXAMPLES_WORDS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_HEADER = 24 };

typedef struct words {
    uint32_t count;
    uint32_t dimension;
    float *vectors;    /* count x dimension, row by row */
    char *text;        /* the words one after another, UTF-8 */
    uint64_t *offsets; /* count + 1 positions in text */
} words;

static uint32_t words_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float words_f32(const unsigned char *p) {
    const uint32_t bits = words_u32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The whole file in memory of its own, or NULL. */
static unsigned char *words_slurp(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    size_t used = 0, room = 0;
    if (file == NULL) return NULL;
    for (;;) {
        if (used == room) {
            unsigned char *larger = realloc(bytes, room = room != 0 ? room * 2 : 1u << 20);
            if (larger == NULL) break;
            bytes = larger;
        }
        used += fread(bytes + used, 1, room - used, file);
        if (used < room) {
            const int good = feof(file) && !ferror(file);
            fclose(file);
            if (good) return *size = used, bytes;
            free(bytes);
            return NULL;
        }
    }
    fclose(file);
    free(bytes);
    return NULL;
}

static void words_free(words *w) {
    free(w->vectors);
    free(w->text);
    free(w->offsets);
    memset(w, 0, sizeof *w);
}

/* Reads `path` into `w`. NULL on success, else the reason; then `w` is empty. */
static const char *words_load(const char *path, words *w) {
    size_t size = 0;
    uint64_t n, dim, text_bytes, needed, i, j;
    const unsigned char *scales, *offsets;
    const signed char *codes;
    const char *why = NULL;
    unsigned char *bytes = words_slurp(path, &size);

    memset(w, 0, sizeof *w);
    if (bytes == NULL) return "the file cannot be read";
    if (size < WORDS_HEADER || memcmp(bytes, "CYBWORDS", 8) != 0) why = "not a words file";
    else if (words_u32(bytes + 8) != 1) why = "unknown layout version";
    if (why != NULL) goto done;
    n = words_u32(bytes + 12), dim = words_u32(bytes + 16), text_bytes = words_u32(bytes + 20);
    /* All three are below 2^32, so that n * dim and the sum stay below 2^64 once dim is bounded. */
    needed = dim <= 65536 ? WORDS_HEADER + 4 * n + n * dim + 4 * (n + 1) + text_bytes : 0;
    if (n == 0 || dim == 0 || needed != size) {
        why = "the file's size is not what its header says";
        goto done;
    }
    scales = bytes + WORDS_HEADER;
    codes = (const signed char *)(scales + 4 * n);
    offsets = (const unsigned char *)codes + n * dim;

    w->vectors = malloc((size_t)(n * dim) * sizeof *w->vectors);
    w->text = malloc((size_t)text_bytes + 1);
    w->offsets = malloc((size_t)(n + 1) * sizeof *w->offsets);
    if (w->vectors == NULL || w->text == NULL || w->offsets == NULL) {
        why = "no memory";
        goto done;
    }
    for (i = 0; i <= n; i++) {
        w->offsets[i] = words_u32(offsets + 4 * i);
        if (w->offsets[i] > text_bytes || (i > 0 && w->offsets[i] <= w->offsets[i - 1])) {
            why = "word offsets do not rise within the text";
            goto done;
        }
    }
    if (w->offsets[0] != 0 || w->offsets[n] != text_bytes) {
        why = "word offsets do not cover the text";
        goto done;
    }
    for (i = 0; i < n; i++) {
        const float scale = words_f32(scales + 4 * i);
        for (j = 0; j < dim; j++) w->vectors[i * dim + j] = scale * (float)codes[i * dim + j];
    }
    memcpy(w->text, offsets + 4 * (n + 1), (size_t)text_bytes);
    w->text[text_bytes] = '\0';
    w->count = (uint32_t)n;
    w->dimension = (uint32_t)dim;
done:
    free(bytes);
    if (why != NULL) words_free(w);
    return why;
}

/* The vector of word `i`: w->dimension values, valid until words_free. */
static const float *words_vector(const words *w, uint32_t i) {
    return w->vectors + (size_t)i * w->dimension;
}

/* Word `i`: `*length` bytes, not terminated, valid until words_free. */
static inline const char *words_text(const words *w, uint32_t i, size_t *length) {
    *length = (size_t)(w->offsets[i + 1] - w->offsets[i]);
    return w->text + w->offsets[i];
}

/* Position of the word `text`, or w->count when it is not there. Looks at every word. */
static inline uint32_t words_find(const words *w, const char *text) {
    const size_t wanted = strlen(text);
    uint32_t i;
    for (i = 0; i < w->count; i++) {
        size_t length;
        const char *word = words_text(w, i, &length);
        if (length == wanted && memcmp(word, text, length) == 0) break;
    }
    return i;
}

#endif
