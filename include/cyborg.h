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

/* ===========================================================================================================
 * Statuses and errors
 *
 * Every function that can fail returns a cyborg_status and takes `cyborg_error **err` last. Pass NULL if the number
 * is enough. Otherwise *err is set: to NULL on success, to an object that you own on failure. It holds the status, one
 * line of text and the numbers behind it; it is not tied to a thread.
 * =========================================================================================================== */

/**
 * What went wrong, as an object that you own and free with cyborg_error_free().
 * Never changes, so any thread may read it; outlives every handle.
 */
typedef struct cyborg_error cyborg_error;

/**
 * Outcome of a call: 0 is success, anything else is one of the CYBORG_STATUS_ numbers below. The numbers are frozen;
 * later versions may add others, so treat an unknown one like CYBORG_STATUS_INTERNAL.
 */
typedef int32_t cyborg_status;

/** What can be done about an error: one of the CYBORG_CATEGORY_ numbers. */
typedef int32_t cyborg_category;

/** Success. */
#define CYBORG_STATUS_OK 0
/** A required pointer was NULL. (HTTP 422) */
#define CYBORG_STATUS_NULL_ARGUMENT 10
/** A handle that was freed, or never was one of this kind. (HTTP 422) */
#define CYBORG_STATUS_INVALID_HANDLE 11
/** A value outside its documented range; cyborg_error_item_index() tells which item of a batch. (HTTP 422) */
#define CYBORG_STATUS_INVALID_ARGUMENT 12
/** The dimension is not that of the index; needed and got are set. (HTTP 422) */
#define CYBORG_STATUS_DIMENSION_MISMATCH 13
/** A buffer of the caller is too short; needed and got are set. (HTTP 422) */
#define CYBORG_STATUS_BUFFER_TOO_SMALL 14
/** Valid, but not in this version or build; also a field of a newer struct than this library knows. (HTTP 422) */
#define CYBORG_STATUS_UNSUPPORTED 15
/** No such index or model. (HTTP 404) */
#define CYBORG_STATUS_NOT_FOUND 20
/** The name is taken. (HTTP 409) */
#define CYBORG_STATUS_ALREADY_EXISTS 21
/** A training job of this index is queued or running. (HTTP 409) */
#define CYBORG_STATUS_TRAINING_IN_PROGRESS 22
/** Training needs at least 2 x n_lists vectors; needed and got are set. (HTTP 422) */
#define CYBORG_STATUS_INSUFFICIENT_VECTORS 23
/** The object changed, or is in use in a way that forbids the call. (HTTP 409) */
#define CYBORG_STATUS_CONFLICT 24
/** The db was closed, or the index was dropped. (HTTP 409) */
#define CYBORG_STATUS_CLOSED 25
/** The process forked after the db was opened; only the parent may go on using it. (HTTP 500) */
#define CYBORG_STATUS_FORKED 26
/** An earlier CYBORG_STATUS_INTERNAL left this handle unusable: free it. (HTTP 500) */
#define CYBORG_STATUS_POISONED 27
/** A model that is still being trained. (HTTP 409) */
#define CYBORG_STATUS_MODEL_NOT_READY 28
/** A model whose training failed; the message tells why. (HTTP 409) */
#define CYBORG_STATUS_MODEL_FAILED 29
/** The store failed to read or write. (HTTP 500) */
#define CYBORG_STATUS_IO 30
/** Another process or handle has the store open for writing; try again later. (HTTP 503) */
#define CYBORG_STATUS_BUSY 31
/** Another writer took the store over; this db can only read from now on. (HTTP 500) */
#define CYBORG_STATUS_FENCED 32
/** A write on a db that was opened read-only, or became so after a failed sync. (HTTP 500) */
#define CYBORG_STATUS_READ_ONLY 33
/** The store is full; what was there before can still be read. (HTTP 500) */
#define CYBORG_STATUS_NO_SPACE 34
/** The store does not keep the promises that a durable commit needs. (HTTP 500) */
#define CYBORG_STATUS_STORE_UNSAFE 35
/** The key does not open this index. (HTTP 401) */
#define CYBORG_STATUS_WRONG_KEY 40
/** Stored bytes are not what was written. (HTTP 500) */
#define CYBORG_STATUS_CORRUPT 41
/** The store shows an older state than this process has seen; needed = newest seen, got = found. (HTTP 500) */
#define CYBORG_STATUS_ROLLBACK 42
/** Written by a newer version of the format; needed = newest readable, got = found. (HTTP 500) */
#define CYBORG_STATUS_VERSION 50
/** The cancel token of the call, or cyborg_training_cancel(), stopped the work. (HTTP 503) */
#define CYBORG_STATUS_CANCELLED 60
/** The deadline of the call passed. (HTTP 503) */
#define CYBORG_STATUS_TIMEOUT 61
/** Memory was refused by the system or by a limit; needed and got are set. The handle stays usable. (HTTP 503) */
#define CYBORG_STATUS_NO_MEMORY 70
/** A defect of the library. The handle of the call is poisoned, the process is not harmed. (HTTP 500) */
#define CYBORG_STATUS_INTERNAL 90

/** The call was wrong: mend the arguments. */
#define CYBORG_CATEGORY_INPUT 1
/** The object is in a state that forbids the call. */
#define CYBORG_CATEGORY_STATE 2
/** The same call may succeed later. */
#define CYBORG_CATEGORY_TRANSIENT 3
/** The same call will fail again until something outside is mended. */
#define CYBORG_CATEGORY_PERMANENT 4
/** Wrong key, damage or rollback. */
#define CYBORG_CATEGORY_SECURITY 5

/**
 * Status of an error, the same number that the failed call returned. NULL gives CYBORG_STATUS_OK.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_error_status(const cyborg_error *error);

/**
 * Category of an error, one of CYBORG_CATEGORY_. NULL gives 0.
 * Since: 0.1
 */
CYBORG_API cyborg_category cyborg_error_category(const cyborg_error *error);

/**
 * One line of UTF-8 that says what is wrong and with which value; never holds keys, ids, vectors, metadata or
 * contents. Borrowed from the error, never NULL; NULL gives "".
 * Since: 0.1
 */
CYBORG_API const char *cyborg_error_message(const cyborg_error *error);

/**
 * Position in its batch of the item that the error is about, -1 when it is not about one.
 * Since: 0.1
 */
CYBORG_API int64_t cyborg_error_item_index(const cyborg_error *error);

/**
 * How much was needed (vectors, bytes, elements, the index's dimension; see the status), 0 where that has no meaning.
 * Since: 0.1
 */
CYBORG_API uint64_t cyborg_error_needed(const cyborg_error *error);

/**
 * How much there was instead, 0 where that has no meaning.
 * Since: 0.1
 */
CYBORG_API uint64_t cyborg_error_got(const cyborg_error *error);

/**
 * Name of the parameter or option that an INVALID_ARGUMENT is about: "tolerance". Borrowed from the error; NULL when
 * it is not about one.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_error_field(const cyborg_error *error);

/**
 * The value that the field of cyborg_error_field() had, as text: "-1"; for data its size or kind, never the data.
 * Borrowed from the error; NULL without a field.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_error_value(const cyborg_error *error);

/**
 * What the field of cyborg_error_field() may be, as text: "0 or more, 0 for 1e-6". Borrowed from the error; NULL
 * without a field.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_error_allowed(const cyborg_error *error);

/**
 * Frees an error. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_error_free(cyborg_error *error);

/**
 * Name of a status without its prefix: "OK", "WRONG_KEY", ...; "UNKNOWN" for a number that is none. Static text.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_status_name(cyborg_status status);

/**
 * The HTTP code that a server should answer with for a status: 200, 401, 404, 409, 422, 500 or 503. Unknown numbers
 * give 500.
 * Since: 0.1
 */
CYBORG_API uint32_t cyborg_status_http(cyborg_status status);

/* ===========================================================================================================
 * Version
 *
 * The header you compile with and the library you run with may differ: compare CYBORG_ABI_VERSION with
 * cyborg_abi_version() at start-up.
 * =========================================================================================================== */

/** Major version of this header. */
#define CYBORG_VERSION_MAJOR 0
/** Minor version of this header. */
#define CYBORG_VERSION_MINOR 1
/** Patch version of this header. */
#define CYBORG_VERSION_PATCH 0
/** The three parts in one number that can be compared: major * 1000000 + minor * 1000 + patch. */
#define CYBORG_VERSION_NUMBER (((CYBORG_VERSION_MAJOR * 1000000) + (CYBORG_VERSION_MINOR * 1000)) + CYBORG_VERSION_PATCH)

/**
 * Version of the binary interface, the number in the name of the shared library (libcyborg.so.0). Libraries of one
 * number only ever add to it; 0 may still change with every minor version.
 */
#define CYBORG_ABI_VERSION 0

/**
 * Version of the library that is running, as "major.minor.patch". Static text.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_version(void);

/**
 * CYBORG_ABI_VERSION of the library that is running.
 * Since: 0.1
 */
CYBORG_API uint32_t cyborg_abi_version(void);

/**
 * What is running, as words of the form key=value with one space between: version, simd (instruction set in use), aes
 * (provider of AES-256-GCM), features. For logs and bug reports; new words may be added. Static text.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_build_info(void);

/* ===========================================================================================================
 * Long calls: cancellation, deadline, progress
 *
 * Functions that may take long accept a `const cyborg_call *`, NULL for none. A call that is cancelled or late stops
 * within some 10 ms of work with CYBORG_STATUS_CANCELLED or CYBORG_STATUS_TIMEOUT, and nothing was changed.
 * =========================================================================================================== */

/**
 * A switch that stops calls: one token may be watched by any number of them, and stays set once it is.
 * Any thread may use it at any time; it may be freed while calls still watch it.
 */
typedef struct cyborg_cancel cyborg_cancel;

/** State of a training job: one of the CYBORG_TRAINING_ numbers. */
typedef int32_t cyborg_training_state;

/** What a training job is doing: one of the CYBORG_PHASE_ numbers, in this order. */
typedef int32_t cyborg_phase;

/** Why clustering ended: one of the CYBORG_END_ numbers. */
typedef int32_t cyborg_training_end;

/**
 * One reading of a training job. Set struct_size (or start from CYBORG_TRAINING_PROGRESS_INIT) before passing it in.
 */
typedef struct cyborg_training_progress {
    /** sizeof(cyborg_training_progress). */
    uint32_t struct_size;
    /** State of the job. */
    cyborg_training_state state;
    /** Present phase. */
    cyborg_phase phase;
    /** Clustering pass, from 1; 0 before. */
    uint32_t iteration;
    /** Units done in this phase. */
    uint64_t done;
    /** Units in this phase, 0 while not known. */
    uint64_t total;
    /** Mean squared distance to the centroid after the last pass; 0 before. */
    double objective;
    /** Milliseconds since the job was queued. */
    uint64_t elapsed_ms;
    /** Vectors the centroids are learned from; 0 before. */
    uint64_t vectors_used;
    /**
     * Recall, 0 to 1, of held-out vectors after the last pass, when lists are scanned that hold a fixed number of vectors
     * (so many that the first pass had 0.9). For comparing passes; 0 where too few vectors are at hand to tell.
     */
    double recall;
    /** Why clustering ended. */
    cyborg_training_end end_reason;
    /** 0. */
    uint32_t reserved;
} cyborg_training_progress;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_TRAINING_PROGRESS_INIT {sizeof(cyborg_training_progress), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * Receives progress. Called on the thread of the call, about every 50 ms. It may call any function of the library
 * except freeing the handles in use by the call, and must return normally (no longjmp, no C++ exception).
 */
typedef void (*cyborg_progress_fn)(void *user, const cyborg_training_progress *progress);

/** How a long call may be stopped and watched. Start from CYBORG_CALL_INIT. */
typedef struct cyborg_call {
    /** sizeof(cyborg_call). */
    uint32_t struct_size;
    /** Must be 0. */
    uint32_t reserved;
    /** Stops the call when it is set; NULL = none. */
    const cyborg_cancel *cancel;
    /** Stops the call this many milliseconds after it began; 0 = no deadline. */
    uint64_t deadline_ms;
    /** Receives progress of cyborg_index_train(); the other calls report none. NULL = none. */
    cyborg_progress_fn progress;
    /** First argument of progress. */
    void *user;
} cyborg_call;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_CALL_INIT {sizeof(cyborg_call), 0, 0, 0, 0, 0}

/** Waiting for a worker. */
#define CYBORG_TRAINING_QUEUED 1
/** At work. */
#define CYBORG_TRAINING_RUNNING 2
/** Ended well: queries use the new lists. */
#define CYBORG_TRAINING_TRAINED 3
/** Ended with an error, see cyborg_training_result(); the index is as it was. */
#define CYBORG_TRAINING_FAILED 4
/** Ended on request; the index is as it was. */
#define CYBORG_TRAINING_CANCELLED 5

/** Waiting for a worker. */
#define CYBORG_PHASE_QUEUED 1
/** Reading the sample; units are vectors. */
#define CYBORG_PHASE_SAMPLING 2
/** Clustering; units are those of the algorithm. */
#define CYBORG_PHASE_CLUSTERING 3
/** Fitting the quantizer. */
#define CYBORG_PHASE_QUANTIZER 4
/** Assigning and encoding all items; units are items. */
#define CYBORG_PHASE_ENCODING 5
/** Measuring recall against the number of probes. */
#define CYBORG_PHASE_CALIBRATING 6
/** Writing and publishing. */
#define CYBORG_PHASE_PUBLISHING 7

/** It has not. */
#define CYBORG_END_RUNNING 0
/** Every pass that was planned was made. */
#define CYBORG_END_SCHEDULE 1
/** max_iters passes were made, and they were fewer than planned. */
#define CYBORG_END_MAX_ITERS 2
/** A pass lowered the objective by less than tolerance. */
#define CYBORG_END_TOLERANCE 3
/** Two passes in a row raised the recall of held-out vectors by less than 0.001. */
#define CYBORG_END_RECALL 4

/**
 * Makes a cancel token that is not set. Free it with cyborg_cancel_free().
 * Statuses: NULL_ARGUMENT, NO_MEMORY.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_cancel_create(cyborg_cancel **out_cancel, cyborg_error **err);

/**
 * Sets a token: every call that watches it stops. Setting it again changes nothing. Not for signal handlers.
 * Statuses: NULL_ARGUMENT, INVALID_HANDLE.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_cancel_set(const cyborg_cancel *cancel, cyborg_error **err);

/**
 * Writes 1 to *out_is_set when the token was set, otherwise 0.
 * Statuses: NULL_ARGUMENT, INVALID_HANDLE.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_cancel_is_set(const cyborg_cancel *cancel, uint32_t *out_is_set, cyborg_error **err);

/**
 * Frees a token without setting it. NULL and stale handles are allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_cancel_free(cyborg_cancel *cancel);

/* ===========================================================================================================
 * Names: lists of text
 *
 * What cyborg_db_list_indexes() and cyborg_db_training_status() give.
 * =========================================================================================================== */

/**
 * A list of index names, in alphabetical order. You own it and free it with cyborg_names_free().
 * Never changes, so any thread may read it; outlives every handle.
 */
typedef struct cyborg_names cyborg_names;

/**
 * Number of names. NULL gives 0.
 * Since: 0.1
 */
CYBORG_API size_t cyborg_names_count(const cyborg_names *names);

/**
 * Name at position i from 0, NUL-terminated UTF-8 borrowed from the list; NULL when there is none. *out_len (may be
 * NULL) is its length in bytes.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_names_at(const cyborg_names *names, size_t i, size_t *out_len);

/**
 * Frees a list of names. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_names_free(cyborg_names *names);

/* ===========================================================================================================
 * Training list: what a db trains
 *
 * What cyborg_db_training_jobs() gives: the jobs that run or wait, in the order they run.
 * =========================================================================================================== */

/**
 * A list of training jobs as they were when it was made. You own it and free it with cyborg_training_list_free().
 * Never changes, so any thread may read it; outlives every handle.
 */
typedef struct cyborg_training_list cyborg_training_list;

/** What a job trains: one of the CYBORG_TRAINING_KIND_ numbers. */
typedef int32_t cyborg_training_kind;

/** An index. */
#define CYBORG_TRAINING_KIND_INDEX 1
/** A model. */
#define CYBORG_TRAINING_KIND_MODEL 2

/**
 * Number of jobs. NULL gives 0.
 * Since: 0.1
 */
CYBORG_API size_t cyborg_training_list_count(const cyborg_training_list *list);

/**
 * Name of the index that job i trains, or id of the model, NUL-terminated UTF-8 borrowed from the list; NULL when
 * there is no job i. *out_len (may be NULL) is its length in bytes.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_training_list_name(const cyborg_training_list *list, size_t i, size_t *out_len);

/**
 * What job i trains, one of CYBORG_TRAINING_KIND_; 0 when there is no job i.
 * Since: 0.1
 */
CYBORG_API cyborg_training_kind cyborg_training_list_kind(const cyborg_training_list *list, size_t i);

/**
 * Place of job i in the queue: 0 = it runs (or there is no job i), 1 = the next to run, and so on.
 * Since: 0.1
 */
CYBORG_API uint32_t cyborg_training_list_place(const cyborg_training_list *list, size_t i);

/**
 * Reads state (QUEUED or RUNNING) and progress of job i.
 * Statuses: NULL_ARGUMENT, INVALID_ARGUMENT (no job i, or a wrong struct_size).
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_training_list_progress(const cyborg_training_list *list, size_t i,
        cyborg_training_progress *out_progress, cyborg_error **err);

/**
 * Frees a list. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_training_list_free(cyborg_training_list *list);

/* ===========================================================================================================
 * Db: an opened store
 *
 * One process opens a store for writing at a time; others may open it read-only beside it. A store holds any number
 * of indexes, each under its own key. Names of indexes are the only thing in it that is not encrypted.
 * =========================================================================================================== */

/**
 * An opened store. It is closed when its db handle and all index, training and cursor objects made from it are freed,
 * in any order; cyborg_db_close() ends its work before that.
 * Any thread may use it at any time; cyborg_db_free() must be the last call.
 */
typedef struct cyborg_db cyborg_db;

/** How the cache keeps inverted lists: one of the CYBORG_CACHE_MODE_ numbers, 0 = PLAIN. */
typedef int32_t cyborg_cache_mode;

/** Importance of a log record: one of the CYBORG_LOG_ numbers. */
typedef int32_t cyborg_log_level;

/**
 * Receives log records: level, target ("train", "merge", ...) and one line of text, both NUL-terminated UTF-8 that is
 * gone when the function returns. Called from any thread, also from several at once. It must not call the library
 * (which answers CYBORG_STATUS_CONFLICT) and must return normally (no longjmp, no C++ exception). Records never hold
 * keys, ids, vectors, metadata or contents.
 */
typedef void (*cyborg_log_fn)(void *user, cyborg_log_level level, const char *target, const char *message);

/** How a db is opened. Start from CYBORG_DB_OPTIONS_INIT. */
typedef struct cyborg_db_options {
    /** sizeof(cyborg_db_options). */
    uint32_t struct_size;
    /**
     * Threads for parallel work and for background jobs; 0 = one per core, 1 = parallel parts run on the caller's.
     */
    uint32_t threads;
    /**
     * Half of it bounds the cache, half each training job and the vectors a merge holds, in bytes; ids, unmerged batches
     * and the scratch of queries are not counted. 0 = no limit.
     */
    uint64_t memory_limit;
    /**
     * Bytes the cache of lists and vectors may hold; 0 = no limit of its own. Codes of lists are kept before vectors.
     */
    uint64_t cache_bytes;
    /** How the cache keeps lists; 0 = PLAIN. */
    cyborg_cache_mode cache_mode;
    /** 1 = do not take the writer's place; every write then gives CYBORG_STATUS_READ_ONLY. Default 0. */
    uint32_t read_only;
    /** Receives log records until the store is closed; NULL = none. */
    cyborg_log_fn log;
    /** First argument of log. */
    void *log_user;
} cyborg_db_options;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_DB_OPTIONS_INIT {sizeof(cyborg_db_options), 0, 0, 0, 0, 0, 0, 0}

/** Decrypted, and wiped when evicted. Fastest. */
#define CYBORG_CACHE_MODE_PLAIN 1
/** As ciphertext, decrypted for each query into memory that is wiped after it. */
#define CYBORG_CACHE_MODE_SEALED 2

/** Something failed that no call can report, a background merge for example. */
#define CYBORG_LOG_ERROR 1
/** Worth a look. */
#define CYBORG_LOG_WARN 2
/** Training begins and ends; an opening removed what a crash had left. */
#define CYBORG_LOG_INFO 3

/**
 * Opens a store, or makes it when it does not exist. url is "memory:" (gone when the db is), "file:PATH", or a plain
 * path, which means a file. Beside the file PATH there may be PATH-wal, PATH-shm and PATH-lock.
 * Statuses: NULL_ARGUMENT, INVALID_ARGUMENT, UNSUPPORTED, NOT_FOUND (read_only), NO_MEMORY, VERSION, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_db_open(const char *url, const cyborg_db_options *options, cyborg_db **out_db,
        cyborg_error **err);

/**
 * Closes a db now: cancels its training jobs and waits for background work. Calls under way finish or give
 * CYBORG_STATUS_CLOSED, as does every later call on the db and what was made from it. The handles must still be freed,
 * which is also when the file is free for another writer. Closing twice changes nothing.
 * Statuses: common.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_db_close(cyborg_db *db, cyborg_error **err);

/**
 * Frees a db handle. NULL and stale handles are allowed; never fails. Indexes opened from it stay usable.
 * Since: 0.1
 */
CYBORG_API void cyborg_db_free(cyborg_db *db);

/**
 * Lists the names of all indexes in the store, in alphabetical order. Needs no key.
 * Statuses: common, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_db_list_indexes(cyborg_db *db, cyborg_names **out_names, cyborg_error **err);

/**
 * Lists the names of the indexes that this db is training, or has queued for it, in alphabetical order.
 * Statuses: common.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_db_training_status(cyborg_db *db, cyborg_names **out_indexes_training,
        cyborg_error **err);

/**
 * Lists the training jobs of this db that run or wait, in the order they run, with their progress, as they are at this
 * moment. Jobs run one after the other in the order they were started, by a call or by an upsert. Free the list with
 * cyborg_training_list_free().
 * Statuses: common.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_db_training_jobs(cyborg_db *db, cyborg_training_list **out_jobs, cyborg_error **err);

/**
 * Deletes an index and all it holds, for good: its stored keys go first, so that what the disk may still keep cannot
 * be read. key is the index's key of 32 bytes. Open handles of the index give CYBORG_STATUS_CLOSED from then on.
 * Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_db_drop_index(cyborg_db *db, const char *name, const uint8_t *key, size_t key_len,
        cyborg_error **err);

/* ===========================================================================================================
 * Index: an encrypted collection of items
 *
 * An index belongs to one key of 32 bytes, which you keep: the library reads it when the index is opened and can
 * neither keep nor recover it; what it unlocks is wiped when the index is closed. All vectors of an index have one dimension.
 * =========================================================================================================== */

/** Bytes in a key. */
#define CYBORG_KEY_LEN 32

/** Longest index name in bytes. */
#define CYBORG_MAX_NAME_LEN 255
/** Largest dimension of a vector. */
#define CYBORG_MAX_DIMENSION 65536
/** Most inverted lists of an index. */
#define CYBORG_MAX_LISTS 1048576

/**
 * An open index. Opening one twice gives two handles on the same index.
 * Any thread may use it at any time; cyborg_index_free() must be the last call. Keeps its db alive.
 */
typedef struct cyborg_index cyborg_index;

/**
 * How far apart two vectors are: one of the CYBORG_METRIC_ numbers, 0 = EUCLIDEAN. A distance is always lower = nearer.
 */
typedef int32_t cyborg_metric;

/**
 * How vectors are coded in lists once an index is trained: one of the CYBORG_QUANTIZER_ numbers. A query reads the codes
 * of the lists it looks into, so their size decides its speed and the memory of the cache. Full vectors are stored
 * beside codes (FLAT excepted) and read for the best candidates only: those are ranked again, so distances are exact.
 * Take AUTO unless you have measured. Below, d is the dimension; cyborg_index_info.code_bytes tells the bytes.
 */
typedef int32_t cyborg_quantizer;

/** What ids are: one of the CYBORG_ID_KIND_ numbers, 0 = BYTES. */
typedef int32_t cyborg_id_kind;

/** How vectors are stored: one of the CYBORG_VECTOR_PRECISION_ numbers, 0 = F32. */
typedef int32_t cyborg_vector_precision;

/** How an index is made. Start from CYBORG_INDEX_OPTIONS_INIT. */
typedef struct cyborg_index_options {
    /** sizeof(cyborg_index_options). */
    uint32_t struct_size;
    /** Elements of a vector, 1 to CYBORG_MAX_DIMENSION; 0 = taken from the first upsert. */
    uint32_t dimension;
    /** How far apart two vectors are; 0 = EUCLIDEAN. */
    cyborg_metric metric;
    /** How vectors are coded once trained; 0 = AUTO. */
    cyborg_quantizer quantizer;
    /** Bits a dimension of quantizer SQ: 8, 4 or 2; 0 = 8. Must be 0 with another quantizer. */
    uint32_t sq_bits;
    /** What ids are; 0 = BYTES. */
    cyborg_id_kind id_kind;
    /** 1 = never start training from an upsert. Default 0. */
    uint32_t auto_train_disabled;
    /** Recall at 10 that automatic probes aim at, above 0 and below 1; 0 = 0.95. */
    float target_recall;
    /** Items that an untrained index, or a list on average, may hold before an upsert starts training; 0 = 10000. */
    uint64_t retrain_threshold;
    /**
     * Seed of sampling, clustering and quantizers: the same seed and items give the same lists and codes. Default 0.
     */
    uint64_t seed;
    /**
     * Parts of a vector that quantizer PQ codes, 1 to the dimension, which they need not divide; 0 = half the
     * dimension with pq_bits 4, a quarter with 8. Must be 0 with another quantizer.
     */
    uint32_t pq_m;
    /**
     * Bits of the code of a part, 4 or 8; 0 = 4, which is scanned far quicker. Must be 0 with another quantizer than PQ.
     */
    uint32_t pq_bits;
    /**
     * 1 = quantizer PQ learns a rotation that evens out its parts (OPQ): better codes for data whose dimensions depend
     * on each other, and a longer training; at most 2048 dimensions. Default 0, and must be with another quantizer.
     */
    uint32_t pq_rotation;
    /** Bits a dimension of quantizer RABITQ, 1 to 8; 0 = 4. Must be 0 with another quantizer. */
    uint32_t rabitq_bits;
    /** How vectors are stored; 0 = F32. */
    cyborg_vector_precision vector_precision;
    /** Must be 0. */
    uint32_t reserved;
    /**
     * Makes the index from this model: trained from birth. dimension, metric and quantizer (with its parameters) are the
     * model's then and must be 0 here. NUL-terminated; NULL = no model.
     */
    const char *model_id;
    /** The model's key; NULL = the index's. */
    const uint8_t *model_key;
    /** CYBORG_KEY_LEN, or 0 without model_key. */
    size_t model_key_len;
} cyborg_index_options;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_INDEX_OPTIONS_INIT {sizeof(cyborg_index_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** How an index is opened. Start from CYBORG_OPEN_OPTIONS_INIT. */
typedef struct cyborg_open_options {
    /** sizeof(cyborg_open_options). */
    uint32_t struct_size;
    /** Must be 0. */
    uint32_t reserved;
} cyborg_open_options;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_OPEN_OPTIONS_INIT {sizeof(cyborg_open_options), 0}

/** sqrt(sum (a - b)^2). */
#define CYBORG_METRIC_EUCLIDEAN 1
/** sum (a - b)^2. */
#define CYBORG_METRIC_SQUARED_EUCLIDEAN 2
/** 1 - cos(a, b). Vectors are normalised when they are taken in, and a zero vector is refused. */
#define CYBORG_METRIC_COSINE 3
/** Minus the dot product. */
#define CYBORG_METRIC_INNER_PRODUCT 4

/** The library's choice, made anew by each training; cyborg_index_describe() tells it. */
#define CYBORG_QUANTIZER_AUTO 0

/**
 * Full vectors, exact: for small indexes, and where no neighbour in the lists looked into may be lost. 4 d bytes a
 * vector, 2 d with vector_precision F16; stored once.
 */
#define CYBORG_QUANTIZER_FLAT 1

/**
 * Scalar codes of sq_bits bits a dimension. The quickest to train and, at 4 bits, the quickest to search at high recall.
 * d sq_bits / 8 bytes a vector, rounded up to whole groups of 4 bytes; 4 more under the euclidean metrics.
 */
#define CYBORG_QUANTIZER_SQ 2

/**
 * Product quantization: pq_m parts of a vector, each the nearest of 2^pq_bits learned values. The smallest codes where
 * dimensions depend on each other; training takes longest. pq_m pq_bits / 8 bytes a vector, and a few more.
 */
#define CYBORG_QUANTIZER_PQ 3

/**
 * RaBitQ: rabitq_bits bits a dimension after a random rotation, with an error bound for each vector, so that only
 * candidates which can still be results are ranked again. Needs no even data. d rabitq_bits / 8 bytes a vector, and
 * some 8 more.
 */
#define CYBORG_QUANTIZER_RABITQ 4

/** float32, as given. */
#define CYBORG_VECTOR_PRECISION_F32 1

/**
 * float16: half the bytes, three decimal digits. Vectors are rounded when they are taken in, and come back rounded;
 * an element beyond -65504 to 65504 is refused.
 */
#define CYBORG_VECTOR_PRECISION_F16 2

/** Byte strings of 1 to CYBORG_MAX_ID_LEN bytes; any bytes, text is usual. */
#define CYBORG_ID_KIND_BYTES 1
/** 64-bit numbers. */
#define CYBORG_ID_KIND_U64 2

/**
 * Makes an index and opens it. name is 1 to CYBORG_MAX_NAME_LEN bytes of UTF-8 and stays readable in the store; key is
 * CYBORG_KEY_LEN random bytes. options may be NULL. Free the index with cyborg_index_free().
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, ALREADY_EXISTS, store; with a model_id also NOT_FOUND, WRONG_KEY,
 * MODEL_NOT_READY and MODEL_FAILED, all of the model.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_create(cyborg_db *db, const char *name, const uint8_t *key, size_t key_len,
        const cyborg_index_options *options, cyborg_index **out_index, cyborg_error **err);

/**
 * Opens an index with its key. options may be NULL. Free the index with cyborg_index_free().
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, NOT_FOUND, WRONG_KEY, VERSION, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_open(cyborg_db *db, const char *name, const uint8_t *key, size_t key_len,
        const cyborg_open_options *options, cyborg_index **out_index, cyborg_error **err);

/**
 * Frees an index handle. NULL and stale handles are allowed; never fails. Neither stops nor waits for training.
 * Since: 0.1
 */
CYBORG_API void cyborg_index_free(cyborg_index *index);

/* ===========================================================================================================
 * Describe: what an index is, how it is trained and how large it is
 * =========================================================================================================== */

/** Points of a recall curve in cyborg_index_info. */
#define CYBORG_RECALL_POINTS 16

/**
 * Configuration and state of an index. Set struct_size (or start from CYBORG_INDEX_INFO_INIT) before passing it in.
 */
typedef struct cyborg_index_info {
    /** sizeof(cyborg_index_info). */
    uint32_t struct_size;
    /** Elements of a vector, 0 while not known. */
    uint32_t dimension;
    /** Metric. */
    cyborg_metric metric;
    /** Quantizer of the present lists; FLAT while untrained. */
    cyborg_quantizer quantizer;
    /** Its bits: of a dimension for SQ and RABITQ, of a part for PQ; 32 or 16 for FLAT. */
    uint32_t quantizer_bits;
    /** Kind of the ids. */
    cyborg_id_kind id_kind;
    /** 1 when the index is trained. */
    uint32_t trained;
    /** 1 while a training job is queued or running. */
    uint32_t training;
    /** 1 when an upsert may start training. */
    uint32_t auto_train;
    /** Inverted lists, 1 when untrained. */
    uint32_t n_lists;
    /**
     * Lists that would reach target_recall for top_k 10 if every query looked into the same number. A query with n_probes
     * 0 and top_k up to 10 decides for itself: it looks into up to 3 times as many where it needs them, and fewer on
     * average. Under INNER_PRODUCT and with RABITQ all look into so many.
     */
    uint32_t auto_probes;
    /** As configured, or the default. */
    float target_recall;
    /** Items. */
    uint64_t count;
    /** How often the index was trained; 0 = never. */
    uint64_t generation;
    /** Number of the last commit. */
    uint64_t sequence;
    /** As configured, or the default. */
    uint64_t retrain_threshold;
    /** As configured. */
    uint64_t seed;
    /** Quantizer as configured: AUTO where the library chooses. */
    cyborg_quantizer configured_quantizer;
    /** Its bits as configured, or the default; 0 for AUTO and FLAT. */
    uint32_t configured_bits;
    /** pq_m as configured, 0 = automatic. */
    uint32_t configured_m;
    /** pq_rotation as configured. */
    uint32_t configured_rotation;
    /** Parts of a vector in the present lists; 0 unless their quantizer is PQ. */
    uint32_t quantizer_m;
    /** 1 when the vectors of the present lists were rotated by PQ. */
    uint32_t quantizer_rotation;
    /** How vectors are stored. */
    cyborg_vector_precision vector_precision;
    /** Bytes of the code of one vector in the present lists; 0 while the dimension is not known. */
    uint32_t code_bytes;
    /** Held-out items used as queries when the recall curve of the present lists was measured; 0 = none. */
    uint32_t recall_queries;
    /** 0. */
    uint32_t reserved;
    /**
     * Up to 16 points of the recall curve, see cyborg_index_recall_curve(): lists looked into, rising; 0 past the last.
     */
    uint32_t recall_at_10_probes[CYBORG_RECALL_POINTS];
    /** Share of the 10 nearest that lie in so many lists, rising. */
    float recall_at_10[CYBORG_RECALL_POINTS];
    /** The same for the 100 nearest: lists looked into. */
    uint32_t recall_at_100_probes[CYBORG_RECALL_POINTS];
    /** The same for the 100 nearest: their share. */
    float recall_at_100[CYBORG_RECALL_POINTS];
} cyborg_index_info;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_INDEX_INFO_INIT {sizeof(cyborg_index_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}, {0}, {0}}

/**
 * Sizes and counters of an index. Set struct_size (or start from CYBORG_INDEX_STATS_INFO_INIT) before passing it in.
 */
typedef struct cyborg_index_stats_info {
    /** sizeof(cyborg_index_stats_info). */
    uint32_t struct_size;
    /** 0. */
    uint32_t reserved;
    /** Items. */
    uint64_t count;
    /** Rows of replaced or deleted items that no merge has dropped yet. */
    uint64_t tombstones;
    /** Committed batches not merged yet. */
    uint64_t deltas;
    /** Items in them. */
    uint64_t delta_items;
    /** Merged runs. */
    uint64_t runs;
    /** Bytes of the index's objects in the store, those about to be deleted included. Counted anew by each call. */
    uint64_t stored_bytes;
    /** Bytes of ids, batches and directories in memory. */
    uint64_t resident_bytes;
    /** Bytes of this index in the cache. */
    uint64_t cache_bytes;
    /** Cache hits since opening. */
    uint64_t cache_hits;
    /** Cache misses of the present runs; a merge or training starts them anew. */
    uint64_t cache_misses;
    /** Largest list divided by the mean list length, in thousandths; 0 when untrained. */
    uint64_t largest_list_permille;
    /** n_lists * sum(length^2) / count^2, in thousandths (1000 = all lists alike); 0 when untrained. */
    uint64_t balance_permille;
    /** Items written or deleted in the life of the index. */
    uint64_t writes;
    /**
     * What writes was when the recall curve, which chooses automatic probes, was measured; 0 when untrained, and in an
     * index made from a model until its own was measured. It is measured in training, and again in the background when
     * more than a quarter of the present items, and 1000 at least, were written or deleted since.
     */
    uint64_t curve_writes;
    /** Queries the recall curve was measured with; 0 = it was not, and automatic probes look into all lists. */
    uint64_t curve_queries;
} cyborg_index_stats_info;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_INDEX_STATS_INFO_INIT {sizeof(cyborg_index_stats_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * Reads the configuration and state of an index.
 * Statuses: common, INVALID_ARGUMENT, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_describe(const cyborg_index *index, cyborg_index_info *out_info,
        cyborg_error **err);

/**
 * Reads the recall curve of the present lists, measured by training, or anew in the background after many writes (see
 * curve_writes of cyborg_index_stats_info): how much of the true k nearest neighbours lie in the lists that a query
 * with so many n_probes looks into. k is 10 or 100. Writes n points, rising, into out_probes and out_recalls, which
 * have room for capacity, and n into out_count; n is 0 while untrained and where too few items were there to measure.
 * With capacity 0 the arrays may be NULL and n alone is told. What codes lose comes on top, and rerank makes up for it.
 * Statuses: common, INVALID_ARGUMENT, BUFFER_TOO_SMALL (needed, got), store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_recall_curve(const cyborg_index *index, uint32_t k, uint32_t *out_probes,
        float *out_recalls, size_t capacity, size_t *out_count, cyborg_error **err);

/**
 * Reads the sizes and counters of an index.
 * Statuses: common, INVALID_ARGUMENT, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_stats(const cyborg_index *index, cyborg_index_stats_info *out_stats,
        cyborg_error **err);

/**
 * Counts the items of an index.
 * Statuses: common, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_count(const cyborg_index *index, uint64_t *out_count, cyborg_error **err);

/* ===========================================================================================================
 * Columns: what comes back
 *
 * Items and query results are objects that hold columns; accessors read one place of a column, and the _columns
 * functions hand out whole ones. What was not asked for with CYBORG_INCLUDE_ bits is NULL.
 * =========================================================================================================== */

/**
 * Items fetched from an index. You own it and free it with cyborg_items_free().
 * Belongs to one thread at a time; outlives every handle.
 */
typedef struct cyborg_items cyborg_items;

/** What contents are: one of the CYBORG_CONTENTS_ numbers. */
typedef uint8_t cyborg_contents_kind;

/**
 * All columns of a result at once. Set struct_size (or start from CYBORG_COLUMNS_INIT) before passing it in. Pointers
 * are borrowed from the object asked, and NULL where it has no such column.
 */
typedef struct cyborg_columns {
    /** sizeof(cyborg_columns). */
    uint32_t struct_size;
    /** Elements of each vector. */
    uint32_t dimension;
    /** Number of rows: items, or results of all queries together. */
    size_t rows;
    /** Number of queries; 0 for items. */
    size_t queries;
    /** queries + 1 positions: the results of query q are the rows starts[q] .. starts[q + 1]. NULL for items. */
    const size_t *starts;
    /** Ids one after the other; numbers as 8 little-endian bytes. */
    const uint8_t *ids;
    /** rows + 1 offsets into ids. */
    const uint64_t *id_offsets;
    /** Ids as numbers; NULL unless the index has CYBORG_ID_KIND_U64. */
    const uint64_t *id_numbers;
    /** 1 for each item that was found, otherwise 0; NULL for query results. */
    const uint8_t *found;
    /** Distances; NULL for items and when not included. */
    const float *distances;
    /** Metadata one after the other; NULL when not included. */
    const char *metadata;
    /** rows + 1 offsets into metadata. */
    const uint64_t *metadata_offsets;
    /** Contents one after the other; NULL when not included. */
    const uint8_t *contents;
    /** rows + 1 offsets into contents. */
    const uint64_t *contents_offsets;
    /** A CYBORG_CONTENTS_ number for each row; NULL when contents are not included. */
    const cyborg_contents_kind *contents_kinds;
    /** rows x dimension values; NULL when not included. */
    const float *vectors;
} cyborg_columns;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_COLUMNS_INIT {sizeof(cyborg_columns), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** What to give back beside ids, as bits that can be added. */
typedef uint32_t cyborg_include;

/** No contents. */
#define CYBORG_CONTENTS_NONE 0
/** Any bytes. */
#define CYBORG_CONTENTS_BYTES 1
/** UTF-8 text. */
#define CYBORG_CONTENTS_TEXT 2

/** Distances (queries only). */
#define CYBORG_INCLUDE_DISTANCE 1
/** Metadata. */
#define CYBORG_INCLUDE_METADATA 2
/** Contents and their kind. */
#define CYBORG_INCLUDE_CONTENTS 4
/** Vectors; under the cosine metric the normalised ones. */
#define CYBORG_INCLUDE_VECTOR 8
/** All of them. */
#define CYBORG_INCLUDE_ALL 15

/**
 * Number of items, found or not. NULL gives 0.
 * Since: 0.1
 */
CYBORG_API size_t cyborg_items_count(const cyborg_items *items);

/**
 * 1 when item i was found, otherwise 0.
 * Since: 0.1
 */
CYBORG_API uint32_t cyborg_items_found(const cyborg_items *items, size_t i);

/**
 * Id of item i, *out_len (may be NULL) bytes borrowed from the items; numbers as 8 little-endian bytes. NULL when there
 * is no such item.
 * Since: 0.1
 */
CYBORG_API const uint8_t *cyborg_items_id(const cyborg_items *items, size_t i, size_t *out_len);

/**
 * Id of item i as a number, 0 when ids are byte strings or there is no such item.
 * Since: 0.1
 */
CYBORG_API uint64_t cyborg_items_id_u64(const cyborg_items *items, size_t i);

/**
 * Metadata of item i, *out_len (may be NULL) bytes of JSON as they were given, not NUL-terminated, borrowed from the
 * items; length 0 when the item has none, NULL when it was not included or there is no such item.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_items_metadata(const cyborg_items *items, size_t i, size_t *out_len);

/**
 * Contents of item i, *out_len (may be NULL) bytes as they were given, not NUL-terminated, borrowed from the items;
 * NULL when they were not included or there is no such item. *out_kind (may be NULL) is their kind.
 * Since: 0.1
 */
CYBORG_API const uint8_t *cyborg_items_contents(const cyborg_items *items, size_t i, size_t *out_len,
        cyborg_contents_kind *out_kind);

/**
 * Vector of item i, as many values as the index has dimensions, borrowed from the items; NULL when it was not included
 * or there is no such item.
 * Since: 0.1
 */
CYBORG_API const float *cyborg_items_vector(const cyborg_items *items, size_t i);

/**
 * Gives all columns at once, for bindings that want no call per item. The pointers live as long as the items.
 * Statuses: NULL_ARGUMENT, INVALID_ARGUMENT.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_items_columns(const cyborg_items *items, cyborg_columns *out_columns,
        cyborg_error **err);

/**
 * Frees items. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_items_free(cyborg_items *items);

/* ===========================================================================================================
 * Items: what an index holds
 *
 * An item is an id, a vector, metadata (a JSON object) and contents (bytes or text); the last two are optional, and
 * all four are stored encrypted. Items travel in columns: byte strings are one data buffer and count + 1 offsets, the
 * string of item i being data[offsets[i] .. offsets[i + 1]]. A batch is taken whole or not at all.
 * =========================================================================================================== */

/** Longest id in bytes. */
#define CYBORG_MAX_ID_LEN 4096
/** Longest metadata of an item in bytes. */
#define CYBORG_MAX_METADATA_LEN 1048576
/** Longest contents of an item in bytes. */
#define CYBORG_MAX_CONTENTS_LEN 16777216

/** Room for any text of cyborg_upsert_message() with its NUL. */
#define CYBORG_UPSERT_MESSAGE_LEN 128

/** Most bytes in one call: vectors, ids, metadata and contents together. */
#define CYBORG_MAX_BATCH_BYTES 1073741824

/**
 * A walk over the ids of an index as they were when it began, whatever is written meanwhile. You own it and free it
 * with cyborg_cursor_free(). Belongs to one thread at a time; keeps its db alive.
 */
typedef struct cyborg_cursor cyborg_cursor;

/** What an upsert did. Set struct_size (or start from CYBORG_UPSERT_RESULT_INIT) before passing it in. */
typedef struct cyborg_upsert_result {
    /** sizeof(cyborg_upsert_result). */
    uint32_t struct_size;
    /** 1 when this upsert started a training job. */
    uint32_t training_triggered;
    /** Items whose id was new. */
    uint64_t inserted;
    /** Items that replaced one. */
    uint64_t updated;
    /** Items of the batch that a later item of the same id overrode. */
    uint64_t superseded;
    /** Items in the index now. */
    uint64_t vector_count;
    /** Items that have to be passed for training to start. See cyborg_upsert_message(). */
    uint64_t threshold;
} cyborg_upsert_result;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_UPSERT_RESULT_INIT {sizeof(cyborg_upsert_result), 0, 0, 0, 0, 0, 0}

/** Items to upsert, in columns. Optional columns may be NULL: then no item has them. Start from CYBORG_BATCH_INIT. */
typedef struct cyborg_batch {
    /** sizeof(cyborg_batch). */
    uint32_t struct_size;
    /**
     * Elements of each vector, 1 to CYBORG_MAX_DIMENSION: the index's, or, where that is not known yet, what it will be.
     */
    uint32_t dimension;
    /** Number of items. */
    size_t count;
    /** count x dimension finite values, item by item. */
    const float *vectors;
    /**
     * Ids as byte strings of 1 to CYBORG_MAX_ID_LEN bytes (CYBORG_ID_KIND_BYTES), otherwise NULL. The last of equal
     * ids in a batch wins.
     */
    const uint8_t *ids;
    /** Bytes at ids. */
    size_t ids_len;
    /** count + 1 offsets into ids. */
    const uint64_t *id_offsets;
    /** Ids as count numbers (CYBORG_ID_KIND_U64), otherwise NULL. */
    const uint64_t *id_numbers;
    /** Metadata: UTF-8 JSON objects of at most CYBORG_MAX_METADATA_LEN bytes, an empty string = none. May be NULL. */
    const char *metadata;
    /** Bytes at metadata. */
    size_t metadata_len;
    /** count + 1 offsets into metadata. */
    const uint64_t *metadata_offsets;
    /** Contents of at most CYBORG_MAX_CONTENTS_LEN bytes an item. May be NULL. */
    const uint8_t *contents;
    /** Bytes at contents. */
    size_t contents_len;
    /** count + 1 offsets into contents. */
    const uint64_t *contents_offsets;
    /** count kinds; NULL = CYBORG_CONTENTS_BYTES wherever contents are not empty. */
    const cyborg_contents_kind *contents_kinds;
} cyborg_batch;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_BATCH_INIT {sizeof(cyborg_batch), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** Ids, as byte strings or as numbers, whichever the index has. Start from CYBORG_IDS_INIT. */
typedef struct cyborg_ids {
    /** sizeof(cyborg_ids). */
    uint32_t struct_size;
    /** Must be 0. */
    uint32_t reserved;
    /** Number of ids. */
    size_t count;
    /** Byte strings one after the other, or NULL. */
    const uint8_t *ids;
    /** Bytes at ids. */
    size_t ids_len;
    /** count + 1 offsets into ids, or NULL. */
    const uint64_t *id_offsets;
    /** count numbers, or NULL. */
    const uint64_t *id_numbers;
} cyborg_ids;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_IDS_INIT {sizeof(cyborg_ids), 0, 0, 0, 0, 0, 0}

/**
 * Says in one line of text that an upsert started training, with the numbers of result: "Training started (vectors:
 * 10001, threshold: 10000)"; the text is empty when it did not. Writes at most buffer_len bytes to buffer, the last of
 * them a NUL, and gives the length of the whole text without it, which is below CYBORG_UPSERT_MESSAGE_LEN; as
 * snprintf() does. NULL as result, a wrong struct_size or a NULL buffer of length 0 are allowed.
 * Since: 0.1
 */
CYBORG_API size_t cyborg_upsert_message(const cyborg_upsert_result *result, char *buffer, size_t buffer_len);

/**
 * Adds items, replacing those whose id is there already, as a whole: an item's metadata and contents are those of the
 * batch or none. When it returns, the batch is durable and the next query sees it. It never waits for training.
 * out_result may be NULL.
 * Statuses: common, INVALID_ARGUMENT, DIMENSION_MISMATCH, UNSUPPORTED, CANCELLED, TIMEOUT, store. A refused item is
 * named by cyborg_error_item_index(), and nothing of the batch was taken.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_upsert(cyborg_index *index, const cyborg_batch *batch, const cyborg_call *call,
        cyborg_upsert_result *out_result, cyborg_error **err);

/**
 * Like cyborg_index_upsert(), with the vectors as standard base64 (with padding) of count x dimension little-endian
 * float32 values; batch->vectors must be NULL. A text of another length is an error.
 * Statuses: as cyborg_index_upsert(), and BUFFER_TOO_SMALL.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_upsert_base64(cyborg_index *index, const cyborg_batch *batch,
        const char *vectors_base64, size_t vectors_base64_len, const cyborg_call *call,
        cyborg_upsert_result *out_result, cyborg_error **err);

/**
 * Fetches items by id, in the order asked for; ids that are not there are marked as not found. include is a sum of
 * CYBORG_INCLUDE_ bits (DISTANCE has no effect). Free the items with cyborg_items_free().
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_get(cyborg_index *index, const cyborg_ids *ids, cyborg_include include,
        cyborg_items **out_items, cyborg_error **err);

/**
 * Tells for each id whether the index has it: 1 or 0 in out_found, which holds out_found_len >= ids->count bytes.
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, BUFFER_TOO_SMALL, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_contains(cyborg_index *index, const cyborg_ids *ids, uint8_t *out_found,
        size_t out_found_len, cyborg_error **err);

/**
 * Deletes items by id, durably. *out_deleted (may be NULL) is how many were there; ids that were not are no error.
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_delete(cyborg_index *index, const cyborg_ids *ids, uint64_t *out_deleted,
        cyborg_error **err);

/**
 * Starts a walk over all ids, see cyborg_cursor_next(). Free the cursor with cyborg_cursor_free().
 * Statuses: common, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_list_ids(cyborg_index *index, cyborg_cursor **out_cursor, cyborg_error **err);

/**
 * Fetches the next ids, at most limit of them (0 = 1000), as items without other columns; an object of 0 items at the
 * end. Free it with cyborg_items_free().
 * Statuses: NULL_ARGUMENT, CLOSED, FORKED, POISONED, NO_MEMORY, INTERNAL, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_cursor_next(cyborg_cursor *cursor, size_t limit, cyborg_items **out_items,
        cyborg_error **err);

/**
 * Frees a cursor. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_cursor_free(cyborg_cursor *cursor);

/* ===========================================================================================================
 * Training: making an index fast
 *
 * An untrained index is searched exactly. Training clusters its vectors into lists, so that a query looks into a few
 * of them only. It runs in the background; upserts, deletes and queries go on meanwhile, and the new lists take over
 * in one step at the end. A job that fails, is cancelled or dies with the process leaves the index as it was.
 * =========================================================================================================== */

/** Waits without end: for the timeout of cyborg_training_wait(). */
#define CYBORG_WAIT_FOREVER 18446744073709551615ull

/**
 * A training job. It goes on when its handle is freed, until its db is closed.
 * Any thread may use it at any time; cyborg_training_free() must be the last call. Keeps its db alive.
 */
typedef struct cyborg_training cyborg_training;

/** How an index is trained; zero in a field = its default. Start from CYBORG_TRAIN_OPTIONS_INIT. */
typedef struct cyborg_train_options {
    /** sizeof(cyborg_train_options). */
    uint32_t struct_size;
    /** Lists to make, at most half the items and CYBORG_MAX_LISTS; 0 = from the number of items. */
    uint32_t n_lists;
    /**
     * Vectors read and processed at a time, at most 4 MiB of them; 0 = 2048. Where max_memory_mb does not hold all vectors to
     * learn from, those it holds are clustered and the centroids are refined by mini-batches of this size.
     */
    uint32_t batch_size;
    /**
     * Most clustering passes; 0 = 100. 8 in memory and 3 of mini-batches are the most that help; where there are
     * mini-batches, 1 pass of them is made in any case.
     */
    uint32_t max_iters;
    /**
     * Stop when a pass lowers the mean squared distance by less than this fraction; 0 = 1e-6. Whatever it is, passes also end
     * when the recall of held-out vectors improves no more; cyborg_training_progress says which.
     */
    double tolerance;
    /**
     * Most memory the job may take, in MiB; 0 = half of the db's memory_limit (none without one), which also bounds a larger
     * value. Counted: all that is allocated above what the index and its db held when the job began, the new lists included
     * while the old ones are still there, and 10 MiB for the page caches of the store. Not counted: what queries and upserts
     * take meanwhile, a single item's metadata and contents, and items that other threads upsert during the job.
     */
    uint64_t max_memory_mb;
    /** Most vectors to learn from, raised to 2 x n_lists where it is less; 0 = as many as help, 256 a list. */
    uint64_t max_training_vectors;
    /** Seed of sampling and clustering; 0 = the index's. */
    uint64_t seed;
} cyborg_train_options;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_TRAIN_OPTIONS_INIT {sizeof(cyborg_train_options), 0, 0, 0, 0, 0, 0, 0}

/**
 * Trains an index, or trains it anew. Jobs of a db run one after the other in the order they came, see
 * cyborg_db_training_jobs(). With out_job it starts a job and returns at once; free the job with
 * cyborg_training_free(). With out_job NULL it returns when training has ended, watching call (which a started job
 * does not: use cyborg_training_cancel()). options and call may be NULL.
 * Statuses: common, INVALID_ARGUMENT (cyborg_error_field(), _value() and _allowed() tell), UNSUPPORTED,
 * TRAINING_IN_PROGRESS, INSUFFICIENT_VECTORS (below 2 x n_lists; cyborg_error_needed() and _got() tell), CANCELLED,
 * TIMEOUT, store. NO_MEMORY when max_memory_mb is below what the job is estimated to need, in bytes likewise.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_train(cyborg_index *index, const cyborg_train_options *options,
        const cyborg_call *call, cyborg_training **out_job, cyborg_error **err);

/**
 * Gives a handle to the index's present or last job in this process, whoever started it: also one that an upsert started, and
 * one that an upsert would have started and that was refused (FAILED; cyborg_training_result() tells why). Free it with
 * cyborg_training_free().
 * Statuses: common, NOT_FOUND while there has been none.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_training(const cyborg_index *index, cyborg_training **out_job,
        cyborg_error **err);

/**
 * Writes 1 to *out_is_training while a job of the index is queued or running, otherwise 0.
 * Statuses: common.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_is_training(const cyborg_index *index, uint32_t *out_is_training,
        cyborg_error **err);

/**
 * Writes 1 to *out_is_trained when the index has been trained, otherwise 0.
 * Statuses: common, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_is_trained(const cyborg_index *index, uint32_t *out_is_trained,
        cyborg_error **err);

/**
 * Reads state and progress of a job without waiting.
 * Statuses: NULL_ARGUMENT, INVALID_HANDLE, INVALID_ARGUMENT, FORKED, POISONED.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_training_poll(cyborg_training *job, cyborg_training_progress *out_progress,
        cyborg_error **err);

/**
 * Waits until a job has ended or timeout_ms milliseconds have passed (CYBORG_WAIT_FOREVER = until it has ended), and
 * writes the state it then has to *out_state (may be NULL). That the time is over is no error: the state is QUEUED or
 * RUNNING then. That the job failed is none either: see cyborg_training_result().
 * Statuses: NULL_ARGUMENT, INVALID_HANDLE, FORKED, POISONED.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_training_wait(cyborg_training *job, uint64_t timeout_ms,
        cyborg_training_state *out_state, cyborg_error **err);

/**
 * Tells how a job ended: OK when the index is trained, otherwise the status and error that ended it.
 * Statuses: NULL_ARGUMENT, INVALID_HANDLE, FORKED, POISONED, TRAINING_IN_PROGRESS while it has not ended, CANCELLED,
 * INSUFFICIENT_VECTORS (items were deleted meanwhile), CONFLICT, NO_MEMORY, CLOSED, INTERNAL, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_training_result(cyborg_training *job, cyborg_error **err);

/**
 * Asks a job to stop: one that waits for its turn ends at once, one that runs within 100 ms; cyborg_training_wait()
 * tells when. A job that has ended stays as it is.
 * Statuses: NULL_ARGUMENT, INVALID_HANDLE, FORKED, POISONED.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_training_cancel(cyborg_training *job, cyborg_error **err);

/**
 * Frees a job handle; neither cancels the job nor waits for it. NULL and stale handles are allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_training_free(cyborg_training *job);

/* ===========================================================================================================
 * Model records: what is known of a model
 *
 * A record is one reading of a model: its state, numbers and texts as they were at that moment. Records are encrypted
 * under the model's key; only ids of models are readable in the store.
 * =========================================================================================================== */

/**
 * One reading of a model. You own it and free it with cyborg_model_record_free().
 * Never changes, so any thread may read it; outlives every handle.
 */
typedef struct cyborg_model_record cyborg_model_record;

/** State of a model: one of the CYBORG_MODEL_STATE_ numbers. */
typedef int32_t cyborg_model_state;

/** Why a model failed: one of the CYBORG_MODEL_FAILURE_ numbers, 0 = it did not. */
typedef int32_t cyborg_model_failure;

/** The numbers of a record. Set struct_size (or start from CYBORG_MODEL_DETAILS_INIT) before passing it in. */
typedef struct cyborg_model_details {
    /** sizeof(cyborg_model_details). */
    uint32_t struct_size;
    /** State. */
    cyborg_model_state state;
    /** Why it failed; 0 unless FAILED. */
    cyborg_model_failure failure_code;
    /** Elements of a vector. */
    uint32_t dimension;
    /** Metric of the index it was trained from, and of those made from it. */
    cyborg_metric metric;
    /** How vectors are coded; AUTO while the library has not yet chosen. */
    cyborg_quantizer quantizer;
    /**
     * Bits a dimension (SQ, RABITQ), or of a sub-vector's code (PQ). 32 for FLAT, whose vectors an index made from the
     * model stores with its own vector_precision.
     */
    uint32_t quantizer_bits;
    /** Sub-vectors of PQ, 0 for other quantizers. */
    uint32_t pq_m;
    /** 1 when PQ rotates vectors first. */
    uint32_t pq_rotation;
    /** Inverted lists. */
    uint32_t n_lists;
    /** Clustering passes; 0 while training. */
    uint32_t passes;
    /** Version of the format it was written in. */
    uint32_t format_version;
    /** Indexes made from it that exist. */
    uint32_t used_by;
    /** 0. */
    uint32_t reserved;
    /** Seed of sampling and clustering. */
    uint64_t seed;
    /** When training was asked for, in milliseconds since 1970 UTC. */
    uint64_t created_at;
    /** When the state became what it is; 0 while training. */
    uint64_t finished_at;
    /** Vectors that were clustered; 0 while training. */
    uint64_t vectors_used;
    /** Bytes of the trained part. */
    uint64_t bytes;
    /** Mean squared distance of those vectors to the centroids of their lists. */
    double objective;
} cyborg_model_details;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_MODEL_DETAILS_INIT {sizeof(cyborg_model_details), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** Its training is queued or at work. */
#define CYBORG_MODEL_STATE_TRAINING 1
/** Trained: indexes can be made from it. */
#define CYBORG_MODEL_STATE_CREATED 2

/**
 * Its training ended without a model; failure_code and cyborg_model_record_error() tell why. It can only be deleted.
 */
#define CYBORG_MODEL_STATE_FAILED 3
/** The process ended, or the db was closed, before the training did. */
#define CYBORG_MODEL_FAILURE_INTERRUPTED 1
/** It was cancelled. */
#define CYBORG_MODEL_FAILURE_CANCELLED 2
/** Memory was refused by the system or by a limit. */
#define CYBORG_MODEL_FAILURE_MEMORY 3
/** The source would not do: too few vectors were left, it was dropped, or it is damaged. */
#define CYBORG_MODEL_FAILURE_DATA 4
/** The store failed, or the library has a defect. */
#define CYBORG_MODEL_FAILURE_INTERNAL 5

/**
 * Reads the numbers of a record.
 * Statuses: NULL_ARGUMENT, INVALID_ARGUMENT.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_record_details(const cyborg_model_record *record,
        cyborg_model_details *out_details, cyborg_error **err);

/**
 * Id of the model, NUL-terminated UTF-8 borrowed from the record, as are all texts of it; NULL for a NULL record.
 * *out_len (may be NULL) is its length in bytes.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_model_record_id(const cyborg_model_record *record, size_t *out_len);

/**
 * Description as it was given, "" for none.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_model_record_description(const cyborg_model_record *record, size_t *out_len);

/**
 * What made the model fail, one line; "" unless FAILED.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_model_record_error(const cyborg_model_record *record, size_t *out_len);

/**
 * Name of the index it was trained from.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_model_record_source(const cyborg_model_record *record, size_t *out_len);

/**
 * Version of the library that trained it: "0.1.0".
 * Since: 0.1
 */
CYBORG_API const char *cyborg_model_record_library_version(const cyborg_model_record *record, size_t *out_len);

/**
 * Frees a record. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_model_record_free(cyborg_model_record *record);

/* ===========================================================================================================
 * Models: trained once, used by many indexes
 *
 * A model is what training makes of an index's vectors: lists and a quantizer, kept under an id and a key of its own.
 * cyborg_index_create() with a model_id makes an index that is trained before it has its first item. The index takes a
 * copy, sealed under its own key, and needs the model no more. A model can be carried to another store as a package.
 * =========================================================================================================== */

/** Longest id of a model in bytes. */
#define CYBORG_MAX_MODEL_ID_LEN 200
/** Longest description of a model in characters. */
#define CYBORG_MAX_MODEL_DESCRIPTION 1000

/** A bit of cyborg_model_delete(): stop the model's training first. */
#define CYBORG_MODEL_DELETE_CANCEL_FIRST 1

/**
 * A model on its way to another store: sealed bytes. You own it and free it with cyborg_model_package_free().
 * Never changes, so any thread may read it; outlives every handle.
 */
typedef struct cyborg_model_package cyborg_model_package;

/** How a model is trained; zero in a field = its default. Start from CYBORG_MODEL_OPTIONS_INIT. */
typedef struct cyborg_model_options {
    /** sizeof(cyborg_model_options). */
    uint32_t struct_size;
    /** Lists to make, at most half the source's items and CYBORG_MAX_LISTS; 0 = from the number of items. */
    uint32_t n_lists;
    /** How the vectors of indexes made from it are coded; 0 = AUTO. */
    cyborg_quantizer quantizer;
    /** As in cyborg_index_options. */
    uint32_t sq_bits;
    /** As in cyborg_index_options. */
    uint32_t pq_m;
    /** As in cyborg_index_options. */
    uint32_t pq_bits;
    /** As in cyborg_index_options. */
    uint32_t pq_rotation;
    /** As in cyborg_index_options. */
    uint32_t rabitq_bits;
    /** Rows of the source read at a time; 0 = 10000. Never more than 4 MiB of vectors. */
    uint32_t search_size;
    /** Vectors processed at a time; 0 = 2048. */
    uint32_t batch_size;
    /**
     * Most clustering passes; 0 = 100. As in cyborg_train_options: where there are mini-batches, 1 pass of them is made in any
     * case.
     */
    uint32_t max_iters;
    /** Must be 0. */
    uint32_t reserved;
    /** Stop when a pass lowers the mean squared distance by less than this fraction; 0 = 1e-6. */
    double tolerance;
    /**
     * Most memory the job may take, in MiB; 0 = half of the db's memory_limit (none without one), which also bounds a
     * larger value.
     */
    uint64_t max_memory_mb;
    /** Most vectors to learn from, raised to 2 x n_lists where it is less; 0 = as many as help, 256 a list. */
    uint64_t max_training_vectors;
    /** Seed of sampling and clustering; 0 = the source's. */
    uint64_t seed;
    /** Anything: UTF-8 of at most CYBORG_MAX_MODEL_DESCRIPTION characters, NUL-terminated; NULL = none. */
    const char *description;
} cyborg_model_options;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_MODEL_OPTIONS_INIT {sizeof(cyborg_model_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * Trains a model from an index's vectors and returns at once; the record, in state TRAINING, is durable then. The
 * job merges the source's unmerged batches first (its own upkeep) and only reads it otherwise; it may be
 * written to, trained and queried meanwhile. model_id is 1 to CYBORG_MAX_MODEL_ID_LEN bytes of
 * UTF-8 and stays readable in the store; NULL = a random one of 20 characters safe in a URL. key is CYBORG_KEY_LEN bytes
 * that the model is sealed under. options may be NULL. *out_job (out_job may be NULL) takes a handle for progress, free it
 * with cyborg_training_free(); *out_record (out_record may be NULL) the record, which tells the id. Closing the db stops
 * the job; the model is then FAILED, INTERRUPTED.
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, ALREADY_EXISTS, INSUFFICIENT_VECTORS (below 2 x n_lists), NO_MEMORY,
 * store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_train(cyborg_index *source, const char *model_id, const uint8_t *key,
        size_t key_len, const cyborg_model_options *options, cyborg_training **out_job,
        cyborg_model_record **out_record, cyborg_error **err);

/**
 * Reads the record of a model. A model whose training died with its process is found FAILED, INTERRUPTED by the first
 * process that can write and reads it; one that only reads shows TRAINING until then.
 * Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, VERSION, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_info(cyborg_db *db, const char *model_id, const uint8_t *key, size_t key_len,
        cyborg_model_record **out_record, cyborg_error **err);

/**
 * Lists the ids of all models in the store, in any state, in alphabetical order. Needs no key.
 * Statuses: common, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_list(cyborg_db *db, cyborg_names **out_ids, cyborg_error **err);

/**
 * Waits until the training of a model has ended or timeout_ms milliseconds have passed (CYBORG_WAIT_FOREVER = until it
 * has ended), and writes the state it then has to *out_state (may be NULL). That the time is over is no error, nor that
 * the model failed. Where this process does not train it, the state is given at once.
 * Statuses: common, INVALID_ARGUMENT, NOT_FOUND (also when it is deleted meanwhile), WRONG_KEY, VERSION, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_wait(cyborg_db *db, const char *model_id, const uint8_t *key, size_t key_len,
        uint64_t timeout_ms, cyborg_model_state *out_state, cyborg_error **err);

/**
 * Asks the training of a model to stop: at once while it is queued, within 100 ms while it is at work. The model is then
 * FAILED, CANCELLED. One whose training has ended stays as it is. READ_ONLY where this process only reads and the record says
 * TRAINING: the process that trains it must be asked.
 * Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, VERSION, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_cancel(cyborg_db *db, const char *model_id, const uint8_t *key, size_t key_len,
        cyborg_error **err);

/**
 * Deletes a model for good; its id can be used again at once. flags is 0 or a sum of CYBORG_MODEL_DELETE_ bits. Refused
 * with CONFLICT while indexes made from it exist, which the message names (they have copies and would not miss it), and
 * while it is being trained, unless CANCEL_FIRST is given.
 * Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, CONFLICT, VERSION, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_delete(cyborg_db *db, const char *model_id, const uint8_t *key, size_t key_len,
        uint32_t flags, cyborg_error **err);

/**
 * Seals a CREATED model under package_key (CYBORG_KEY_LEN bytes) as bytes to be carried to another store: encrypted,
 * authenticated, and bound to the model's id, which stays readable. Free the package with cyborg_model_package_free().
 * Statuses: common, INVALID_ARGUMENT, NOT_FOUND, WRONG_KEY, MODEL_NOT_READY, MODEL_FAILED, NO_MEMORY, VERSION, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_export(cyborg_db *db, const char *model_id, const uint8_t *key, size_t key_len,
        const uint8_t *package_key, size_t package_key_len, cyborg_model_package **out_package, cyborg_error **err);

/**
 * Bytes of a package, borrowed from it; *out_len (may be NULL) is their number. NULL and 0 for a NULL package.
 * Since: 0.1
 */
CYBORG_API const uint8_t *cyborg_model_package_data(const cyborg_model_package *package, size_t *out_len);

/**
 * Frees a package. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_model_package_free(cyborg_model_package *package);

/**
 * Makes a model of a package: opens data with package_key, the key it was exported under, and seals the model anew under
 * key. model_id NULL = the id it was exported under. The record keeps times and numbers of the training. *out_record
 * (out_record may be NULL) takes it.
 * Statuses: common, INVALID_ARGUMENT, ALREADY_EXISTS, WRONG_KEY (package_key), CORRUPT (data is no whole package),
 * VERSION, NO_MEMORY, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_model_import(cyborg_db *db, const uint8_t *data, size_t data_len,
        const uint8_t *package_key, size_t package_key_len, const char *model_id, const uint8_t *key, size_t key_len,
        cyborg_model_record **out_record, cyborg_error **err);

/**
 * Tells which model an index was made from: a list of its id, empty for an index made without one. The model may have been
 * deleted since. Free the list with cyborg_names_free().
 * Statuses: common.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_model(const cyborg_index *index, cyborg_names **out_ids, cyborg_error **err);

/* ===========================================================================================================
 * Search: the nearest items
 *
 * A query never waits for writers or training. Fewer than top_k items is no error. Results come nearest first, equally
 * near ones in the order of their ids (numbers by value). Which of several equally near items stand at the very end of a
 * list cut off by top_k may change with a merge or a training.
 * =========================================================================================================== */

/** Results of a query when top_k is 0. */
#define CYBORG_DEFAULT_TOP_K 100

/** Most results of one query. */
#define CYBORG_MAX_TOP_K 10000

/**
 * Results of one or more queries. You own it and free it with cyborg_results_free().
 * Belongs to one thread at a time; outlives every handle.
 */
typedef struct cyborg_results cyborg_results;

/** How a query is answered; zero in a field = its default. Start from CYBORG_QUERY_OPTIONS_INIT. */
typedef struct cyborg_query_options {
    /** sizeof(cyborg_query_options). */
    uint32_t struct_size;
    /** Most results of each query, 1 to CYBORG_MAX_TOP_K; 0 = CYBORG_DEFAULT_TOP_K. */
    uint32_t top_k;
    /**
     * Lists to look into; 0 = as many as this query needs for target_recall. More is slower and finds more; all of them
     * make the search exact up to the quantizer.
     */
    uint32_t n_probes;
    /**
     * Candidates reranked by their full vectors, as a multiple of top_k. 0 = the quantizer's default; of scalar codes (but
     * under inner product) those are then left out that are so far behind the results that few results are missed (at
     * most 1 in 1000 where it was measured). RABITQ always leaves out those whose bounds say that they are no results.
     */
    uint32_t rerank_mult;
    /** Sum of CYBORG_INCLUDE_ bits; 0 = ids only. */
    cyborg_include include;
    /**
     * 1 = several queries run on the caller's thread, as a single one always does; 0 or more = on all of the db's.
     */
    uint32_t threads;
    /** 1 = only items at a distance of at most radius. Default 0. */
    uint32_t has_radius;
    /** Largest distance, when has_radius is 1. */
    float radius;
    /**
     * Recall that n_probes 0 aims at, above 0 and below 1; 0 = the index's target_recall. What the quantizer usually loses
     * with its default rerank_mult is made up for by more lists.
     */
    float target_recall;
} cyborg_query_options;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_QUERY_OPTIONS_INIT {sizeof(cyborg_query_options), 0, 0, 0, 0, 0, 0, 0, 0}

/** Work done for one query. Set struct_size (or start from CYBORG_QUERY_STATS_INIT) before passing it in. */
typedef struct cyborg_query_stats {
    /** sizeof(cyborg_query_stats). */
    uint32_t struct_size;
    /** Lists looked into. */
    uint32_t lists_probed;
    /** Vectors scored by their codes. */
    uint64_t vectors_scanned;
    /** Bytes decrypted. What a batch decrypts once for several of its queries counts for the first of them. */
    uint64_t bytes_opened;
    /** Candidates reranked by their full vectors. */
    uint32_t reranked;
    /** 0. */
    uint32_t reserved;
} cyborg_query_stats;

/** Sets struct_size and zeroes all other fields. */
#define CYBORG_QUERY_STATS_INIT {sizeof(cyborg_query_stats), 0, 0, 0, 0, 0}

/**
 * Finds the items nearest to each of n_queries vectors of dimension finite values, one after the other in queries.
 * options and call may be NULL. Free the results with cyborg_results_free().
 * Statuses: common, INVALID_ARGUMENT, DIMENSION_MISMATCH, UNSUPPORTED, CANCELLED, TIMEOUT, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_query(cyborg_index *index, const float *queries, size_t n_queries,
        uint32_t dimension, const cyborg_query_options *options, const cyborg_call *call,
        cyborg_results **out_results, cyborg_error **err);

/**
 * Like cyborg_index_query(), for an index of CYBORG_ID_KIND_U64 and without allocating: the results of query q are
 * written from position q * top_k of out_ids and out_distances (n_queries x top_k elements each; out_distances may be
 * NULL), their number to out_counts[q] (n_queries elements). Places beyond a query's number are not defined. After an
 * error the contents of all three are not defined. include must be 0 or DISTANCE.
 * Statuses: common, INVALID_ARGUMENT, DIMENSION_MISMATCH, UNSUPPORTED, CANCELLED, TIMEOUT, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_query_into(cyborg_index *index, const float *queries, size_t n_queries,
        uint32_t dimension, const cyborg_query_options *options, const cyborg_call *call, uint64_t *out_ids,
        float *out_distances, uint32_t *out_counts, cyborg_error **err);

/**
 * Number of queries that were answered. NULL gives 0.
 * Since: 0.1
 */
CYBORG_API size_t cyborg_results_queries(const cyborg_results *results);

/**
 * Number of results of query `query` (from 0), at most top_k; 0 when there is no such query.
 * Since: 0.1
 */
CYBORG_API size_t cyborg_results_count(const cyborg_results *results, size_t query);

/**
 * Id of result `rank` (0 = nearest) of query `query`, *out_len (may be NULL) bytes borrowed from the results; numbers
 * as 8 little-endian bytes. NULL when there is no such result.
 * Since: 0.1
 */
CYBORG_API const uint8_t *cyborg_results_id(const cyborg_results *results, size_t query, size_t rank,
        size_t *out_len);

/**
 * Id of a result as a number, 0 when ids are byte strings or there is no such result.
 * Since: 0.1
 */
CYBORG_API uint64_t cyborg_results_id_u64(const cyborg_results *results, size_t query, size_t rank);

/**
 * Distance of a result, lower = nearer; NaN when it was not included or there is no such result.
 * Since: 0.1
 */
CYBORG_API float cyborg_results_distance(const cyborg_results *results, size_t query, size_t rank);

/**
 * Metadata of a result, *out_len (may be NULL) bytes of JSON as they were given, not NUL-terminated, borrowed from the
 * results; length 0 when the item has none, NULL when it was not included or there is no such result.
 * Since: 0.1
 */
CYBORG_API const char *cyborg_results_metadata(const cyborg_results *results, size_t query, size_t rank,
        size_t *out_len);

/**
 * Contents of a result, *out_len (may be NULL) bytes as they were given, not NUL-terminated, borrowed from the results;
 * NULL when they were not included or there is no such result. *out_kind (may be NULL) is their kind.
 * Since: 0.1
 */
CYBORG_API const uint8_t *cyborg_results_contents(const cyborg_results *results, size_t query, size_t rank,
        size_t *out_len, cyborg_contents_kind *out_kind);

/**
 * Vector of a result, as many values as the index has dimensions, borrowed from the results; NULL when it was not
 * included or there is no such result.
 * Since: 0.1
 */
CYBORG_API const float *cyborg_results_vector(const cyborg_results *results, size_t query, size_t rank);

/**
 * Tells what work a query took.
 * Statuses: NULL_ARGUMENT, INVALID_ARGUMENT (no such query).
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_results_stats(const cyborg_results *results, size_t query,
        cyborg_query_stats *out_stats, cyborg_error **err);

/**
 * Gives all columns at once, for bindings that want no call per result. The pointers live as long as the results.
 * Statuses: NULL_ARGUMENT, INVALID_ARGUMENT.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_results_columns(const cyborg_results *results, cyborg_columns *out_columns,
        cyborg_error **err);

/**
 * Frees results. NULL is allowed.
 * Since: 0.1
 */
CYBORG_API void cyborg_results_free(cyborg_results *results);

/* ===========================================================================================================
 * Upkeep
 *
 * The library merges and cleans up by itself; these are for those who want it now, or want to be sure.
 * =========================================================================================================== */

/**
 * Folds all batches and runs of an index into one, drops what was replaced or deleted, and gives the space back to the
 * file system. Queries and upserts go on meanwhile. call may be NULL.
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, CONFLICT, TRAINING_IN_PROGRESS, CANCELLED, TIMEOUT, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_compact(cyborg_index *index, const cyborg_call *call, cyborg_error **err);

/**
 * Reads and authenticates every stored object of an index. The error names the first that is damaged. call may be NULL.
 * Statuses: common, INVALID_ARGUMENT, UNSUPPORTED, CANCELLED, TIMEOUT, store.
 * Since: 0.1
 */
CYBORG_API cyborg_status cyborg_index_verify(cyborg_index *index, const cyborg_call *call, cyborg_error **err);

#ifdef __cplusplus
}
#endif

#endif /* CYBORG_H */
