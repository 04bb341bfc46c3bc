/*
 * cyborg.h: an encrypted vector index that you link
 *
 * Open a store, create an index with a key of your own, put in vectors with their ids, metadata and contents, search
 * the nearest ones. All that leaves the process is encrypted and authenticated. This file is the manual.
 *
 *     #include <cyborg.h>
 *     #include <stdio.h>
 *     int main(void) {
 *         uint8_t key[32] = "32 random bytes that you keep..";
 *         float vectors[] = {1, 0, 0, 1}, wanted[] = {0.9f, 0.1f};
 *         uint64_t ids[] = {7, 8};
 *         cyborg_db *db = NULL; cyborg_index *index = NULL; cyborg_results *found = NULL;
 *         cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
 *         cyborg_batch batch = CYBORG_BATCH_INIT;
 *         options.id_kind = CYBORG_ID_KIND_U64;
 *         batch.count = 2, batch.dimension = 2, batch.vectors = vectors, batch.id_numbers = ids;
 *         if (cyborg_db_open("memory:", NULL, &db, NULL) ||
 *             cyborg_index_create(db, "first", key, sizeof key, &options, &index, NULL) ||
 *             cyborg_index_upsert(index, &batch, NULL, NULL, NULL) ||
 *             cyborg_index_query(index, wanted, 1, 2, NULL, NULL, &found, NULL)) return 1;
 *         printf("nearest: %d\n", (int)cyborg_results_id_u64(found, 0, 0));
 *         return cyborg_results_free(found), cyborg_index_free(index), cyborg_db_free(db), 0;
 *     }
 *
 * The rules
 *
 * Errors. A function that can fail returns a cyborg_status, 0 = CYBORG_STATUS_OK, and takes cyborg_error **err last.
 * After a failure every out-handle is NULL, other outputs are not defined unless the function says so, and the index
 * holds what it held before. Each function lists its statuses; two words stand for several:
 *     common: NULL_ARGUMENT INVALID_HANDLE CLOSED FORKED POISONED NO_MEMORY INTERNAL, and CONFLICT in a log callback
 *     store:  IO BUSY FENCED READ_ONLY NO_SPACE STORE_UNSAFE CORRUPT ROLLBACK
 *
 * Handles. cyborg_db, cyborg_index, cyborg_training and cyborg_cancel are numbers of a table in the shape of pointers:
 * one that was freed, freed twice or never made gives CYBORG_STATUS_INVALID_HANDLE. cyborg_error, cyborg_names,
 * cyborg_items, cyborg_results and cyborg_cursor are ordinary objects: free each once, do not use it after.
 *
 * Ownership. What open, create, start, get, list and query give is yours until its _free, which takes NULL and never
 * fails. Handles may be freed in any order: children keep what they need alive. A borrowed pointer names its owner.
 *
 * Threads. Any function may be called on a live handle from any thread at any time; free must be the last call (made
 * early it does no harm: calls under way finish, later ones give INVALID_HANDLE). Ordinary objects belong to one thread
 * at a time. After fork() the child can only free, which there leaves the parent's objects alone; a db opened before
 * the fork gives CYBORG_STATUS_FORKED.
 *
 * Structs start with uint32_t struct_size and have an initialiser CYBORG_..._INIT that sets it and zeroes the rest.
 * Zero in a field, or NULL for the whole struct, means the default. Later versions add fields at the end only: a
 * shorter struct has its missing fields zero; in a longer one what this library does not know must be zero, or it is
 * CYBORG_STATUS_UNSUPPORTED. Truth values are 0 or 1. Enumerations are int32_t, 0 = the default.
 *
 * Memory. Inputs are read during the call only; nothing you pass is kept, but callbacks and their user pointers. A
 * pointer is followed by its length; names and URLs are NUL-terminated UTF-8. Blocks of vectors are row by row.
 *
 * Keys are CYBORG_KEY_LEN bytes, read during the call and not kept. What they unlock stays in locked memory, out of core
 * dumps and forked children, and is wiped at the end. Nothing gives either back.
 *
 * Callbacks take your user pointer first and must return normally. Each says on which thread it runs.
 *
 * The library never writes to stdout or stderr, never exits, installs no signal handler and reads no environment
 * variable. A defect inside becomes CYBORG_STATUS_INTERNAL and poisons the one handle it happened on.
 *
 * Linking: -lcyborg, or pkg-config cyborg, or find_package(cyborg); see bindings/c/README.md.
 *
 * Generated from src/ffi. Do not edit: CYBORG_UPDATE=1 cargo test --test header
 */
#ifndef CYBORG_H
#define CYBORG_H

#include <stddef.h>
#include <stdint.h>

#ifndef CYBORG_API
#if defined(_WIN32) && !defined(CYBORG_STATIC)
#define CYBORG_API __declspec(dllimport)
#else
#define CYBORG_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif
