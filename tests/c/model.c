/* Models: training, records, waiting, cancelling, indexes made from them, deletion, packages. */
#include "check.h"

enum { N = 2000, DIM = 16 };

static cyborg_index *source(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "source", DIM);
    fill_u64(index, 0, N, DIM);
    return index;
}

static cyborg_model_details details(cyborg_db *db, const char *id, const uint8_t *key) {
    cyborg_model_details d = CYBORG_MODEL_DETAILS_INIT;
    cyborg_model_record *record = NULL;
    OK(cyborg_model_info(db, id, key, 32, &record, &err));
    OK(cyborg_model_record_details(record, &d, &err));
    CHECK(d.struct_size == sizeof d && strcmp(cyborg_model_record_id(record, NULL), id) == 0);
    cyborg_model_record_free(record);
    return d;
}

static void trained(cyborg_db *db, cyborg_index *index) {
    cyborg_model_options options = CYBORG_MODEL_OPTIONS_INIT;
    cyborg_model_record *record = NULL;
    cyborg_training *job = NULL;
    cyborg_model_state state = 0;
    cyborg_training_state ended = 0;
    size_t len = 0;
    options.n_lists = 16;
    options.search_size = 100;
    options.description = "a description, with a comma";
    OK(cyborg_model_train(index, "m", OTHER_KEY, 32, &options, &job, &record, &err));
    CHECK(job != NULL && strcmp(cyborg_model_record_id(record, &len), "m") == 0 && len == 1);
    CHECK(strcmp(cyborg_model_record_description(record, NULL), options.description) == 0);
    CHECK(strcmp(cyborg_model_record_source(record, NULL), "source") == 0);
    CHECK(strcmp(cyborg_model_record_library_version(record, NULL), cyborg_version()) == 0);
    CHECK(strcmp(cyborg_model_record_error(record, &len), "") == 0 && len == 0);
    cyborg_model_details d = CYBORG_MODEL_DETAILS_INIT;
    OK(cyborg_model_record_details(record, &d, &err));
    CHECK(d.state == CYBORG_MODEL_STATE_TRAINING && d.finished_at == 0 && d.created_at > 0 && d.n_lists == 16);
    cyborg_model_record_free(record);
    OK(cyborg_model_wait(db, "m", OTHER_KEY, 32, CYBORG_WAIT_FOREVER, &state, &err));
    CHECK(state == CYBORG_MODEL_STATE_CREATED);
    OK(cyborg_model_wait(db, "m", OTHER_KEY, 32, 0, NULL, &err));
    OK(cyborg_training_wait(job, CYBORG_WAIT_FOREVER, &ended, &err));
    CHECK(ended == CYBORG_TRAINING_TRAINED);
    OK(cyborg_training_result(job, &err));
    cyborg_training_free(job);
    d = details(db, "m", OTHER_KEY);
    CHECK(d.state == CYBORG_MODEL_STATE_CREATED && d.failure_code == 0 && d.dimension == DIM && d.n_lists == 16);
    CHECK(d.metric == CYBORG_METRIC_EUCLIDEAN && d.quantizer != CYBORG_QUANTIZER_AUTO && d.quantizer_bits > 0);
    CHECK(d.passes > 0 && d.vectors_used > N / 2 && d.bytes > 16 * DIM * 4 && d.objective > 0 && d.used_by == 0);
    CHECK(d.finished_at >= d.created_at && d.format_version == 1);
    EXPECT(ALREADY_EXISTS, cyborg_model_train(index, "m", OTHER_KEY, 32, NULL, NULL, NULL, &err));
    cyborg_names *ids = NULL;
    OK(cyborg_model_list(db, &ids, &err));
    CHECK(cyborg_names_count(ids) == 1 && strcmp(cyborg_names_at(ids, 0, NULL), "m") == 0);
    cyborg_names_free(ids);
    OK(cyborg_db_list_indexes(db, &ids, &err));
    CHECK(cyborg_names_count(ids) == 1);
    cyborg_names_free(ids);
}

static void refused(cyborg_db *db, cyborg_index *index) {
    cyborg_model_options options = CYBORG_MODEL_OPTIONS_INIT;
    cyborg_model_record *record = NULL;
    cyborg_error *err = NULL;
    char long_text[1102];
    memset(long_text, 'x', sizeof long_text);
    long_text[1001] = '\0';
    options.n_lists = N;
    CHECK(cyborg_model_train(index, "x", KEY, 32, &options, NULL, &record, &err) == CYBORG_STATUS_INSUFFICIENT_VECTORS);
    CHECK(record == NULL && cyborg_error_needed(err) == 2 * N && cyborg_error_got(err) == N);
    cyborg_error_free(err);
    options.n_lists = 0;
    options.description = long_text;
    EXPECT(INVALID_ARGUMENT, cyborg_model_train(index, "x", KEY, 32, &options, NULL, NULL, &err));
    long_text[1000] = '\0';
    long_text[0] = (char)0xff;
    EXPECT(INVALID_ARGUMENT, cyborg_model_train(index, "x", KEY, 32, &options, NULL, NULL, &err));
    options.description = NULL;
    EXPECT(INVALID_ARGUMENT, cyborg_model_train(index, long_text + 1, KEY, 32, &options, NULL, NULL, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_model_train(index, "", KEY, 32, &options, NULL, NULL, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_model_train(index, "x", KEY, 31, &options, NULL, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_train(index, "x", NULL, 32, &options, NULL, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_train(NULL, "x", KEY, 32, &options, NULL, NULL, &err));
    options.sq_bits = 8;
    EXPECT(INVALID_ARGUMENT, cyborg_model_train(index, "x", KEY, 32, &options, NULL, NULL, &err));
    options.sq_bits = 0;
    options.quantizer = 77;
    EXPECT(UNSUPPORTED, cyborg_model_train(index, "x", KEY, 32, &options, NULL, NULL, &err));
    options.quantizer = 0;
    options.reserved = 1;
    EXPECT(UNSUPPORTED, cyborg_model_train(index, "x", KEY, 32, &options, NULL, NULL, &err));
    EXPECT(NOT_FOUND, cyborg_model_info(db, "x", KEY, 32, &record, &err));
    EXPECT(WRONG_KEY, cyborg_model_info(db, "m", KEY, 32, &record, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_info(db, NULL, KEY, 32, &record, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_info(db, "m", OTHER_KEY, 32, NULL, &err));
    EXPECT(WRONG_KEY, cyborg_model_wait(db, "m", KEY, 32, 0, NULL, &err));
    EXPECT(WRONG_KEY, cyborg_model_cancel(db, "m", KEY, 32, &err));
    EXPECT(NOT_FOUND, cyborg_model_cancel(db, "x", KEY, 32, &err));
    EXPECT(WRONG_KEY, cyborg_model_delete(db, "m", KEY, 32, 0, &err));
    EXPECT(INVALID_ARGUMENT, cyborg_model_delete(db, "m", OTHER_KEY, 32, 2, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_list(db, NULL, &err));
    cyborg_model_details d = CYBORG_MODEL_DETAILS_INIT;
    EXPECT(NULL_ARGUMENT, cyborg_model_record_details(NULL, &d, &err));
    size_t len = 7;
    CHECK(cyborg_model_record_id(NULL, &len) == NULL && len == 0 && cyborg_model_record_error(NULL, NULL) == NULL);
    CHECK(cyborg_model_package_data(NULL, &len) == NULL);
    cyborg_model_record_free(NULL);
    cyborg_model_package_free(NULL);
}

static cyborg_index_options from(const char *model, const uint8_t *key) {
    cyborg_index_options options = CYBORG_INDEX_OPTIONS_INIT;
    options.id_kind = CYBORG_ID_KIND_U64;
    options.auto_train_disabled = 1;
    options.model_id = model;
    options.model_key = key;
    options.model_key_len = key == NULL ? 0 : 32;
    return options;
}

static void made_from_it(cyborg_db *db) {
    cyborg_index *index = NULL;
    cyborg_index_info info = CYBORG_INDEX_INFO_INIT;
    cyborg_index_options options = from("m", OTHER_KEY);
    options.dimension = DIM;
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    options.dimension = 0;
    options.metric = CYBORG_METRIC_EUCLIDEAN;
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    options.metric = 0;
    options.quantizer = CYBORG_QUANTIZER_FLAT;
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    options.quantizer = 0;
    options.sq_bits = 8;
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    options = from("m", NULL);
    EXPECT(WRONG_KEY, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    options.model_key_len = 32;
    EXPECT(NULL_ARGUMENT, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    options = from(NULL, OTHER_KEY);
    EXPECT(INVALID_ARGUMENT, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    options = from("none", OTHER_KEY);
    EXPECT(NOT_FOUND, cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));

    options = from("m", OTHER_KEY);
    OK(cyborg_index_create(db, "made", KEY, 32, &options, &index, &err));
    OK(cyborg_index_describe(index, &info, &err));
    CHECK(info.trained == 1 && info.generation == 1 && info.count == 0 && info.n_lists == 16 && info.dimension == DIM);
    cyborg_names *ids = NULL;
    OK(cyborg_index_model(index, &ids, &err));
    CHECK(cyborg_names_count(ids) == 1 && strcmp(cyborg_names_at(ids, 0, NULL), "m") == 0);
    cyborg_names_free(ids);
    fill_u64(index, 0, N, DIM);
    float *query = random_vectors(1, DIM, 1);
    uint64_t found[5];
    uint32_t count = 0;
    cyborg_query_options nearest = CYBORG_QUERY_OPTIONS_INIT;
    nearest.top_k = 5;
    nearest.n_probes = 2;
    OK(cyborg_index_query_into(index, query, 1, DIM, &nearest, NULL, found, NULL, &count, &err));
    CHECK(count == 5 && found[0] == 0);
    free(query);
    /* The same key for both: it need not be said twice. */
    cyborg_index *second = NULL;
    options = from("m", NULL);
    OK(cyborg_index_create(db, "second", OTHER_KEY, 32, &options, &second, &err));
    cyborg_error *err = NULL;
    CHECK(cyborg_model_delete(db, "m", OTHER_KEY, 32, CYBORG_MODEL_DELETE_CANCEL_FIRST, &err) == CYBORG_STATUS_CONFLICT);
    CHECK(strstr(cyborg_error_message(err), "made") != NULL && strstr(cyborg_error_message(err), "second") != NULL);
    cyborg_error_free(err);
    CHECK(details(db, "m", OTHER_KEY).used_by == 2);
    cyborg_index_free(second);
    cyborg_index_free(index);
}

static void failed_and_deleted(cyborg_db *db) {
    cyborg_index *index = create_u64(db, "large", DIM);
    fill_u64(index, 0, 20000, DIM);
    cyborg_model_record *record = NULL;
    cyborg_index *made = NULL;
    cyborg_training *first = NULL;
    cyborg_model_state state = 0;
    cyborg_model_options options = CYBORG_MODEL_OPTIONS_INIT;
    options.n_lists = 5000;
    /* The second waits behind the first, so it cannot have ended when it is cancelled. */
    OK(cyborg_model_train(index, "first", KEY, 32, &options, &first, NULL, &err));
    OK(cyborg_model_train(index, NULL, KEY, 32, &options, NULL, &record, &err));
    char id[32];
    size_t len = 0;
    strcpy(id, cyborg_model_record_id(record, &len));
    CHECK(len == 20 && strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == 20);
    cyborg_model_record_free(record);
    cyborg_index_options from_it = from(id, NULL);
    cyborg_status status = cyborg_index_create(db, "never", KEY, 32, &from_it, &made, NULL);
    CHECK(status == CYBORG_STATUS_MODEL_NOT_READY && made == NULL);
    CHECK(cyborg_model_delete(db, id, KEY, 32, 0, NULL) == CYBORG_STATUS_CONFLICT);
    OK(cyborg_model_cancel(db, id, KEY, 32, &err));
    OK(cyborg_model_wait(db, id, KEY, 32, CYBORG_WAIT_FOREVER, &state, &err));
    CHECK(state == CYBORG_MODEL_STATE_FAILED);
    cyborg_model_details d = details(db, id, KEY);
    CHECK(d.failure_code == CYBORG_MODEL_FAILURE_CANCELLED && d.finished_at >= d.created_at);
    EXPECT(MODEL_FAILED, cyborg_index_create(db, "never", KEY, 32, &from_it, &made, &err));
    cyborg_model_package *package = NULL;
    EXPECT(MODEL_FAILED, cyborg_model_export(db, id, KEY, 32, KEY, 32, &package, &err));
    CHECK(package == NULL);
    OK(cyborg_model_delete(db, id, KEY, 32, 0, &err));
    EXPECT(NOT_FOUND, cyborg_model_delete(db, id, KEY, 32, 0, &err));
    OK(cyborg_model_delete(db, "first", KEY, 32, CYBORG_MODEL_DELETE_CANCEL_FIRST, &err));
    OK(cyborg_training_wait(first, CYBORG_WAIT_FOREVER, NULL, &err));
    cyborg_training_free(first);
    EXPECT(NOT_FOUND, cyborg_model_info(db, "first", KEY, 32, &record, &err));
    cyborg_index_free(index);
}

static void carried(cyborg_db *db) {
    cyborg_db *elsewhere = open_memory();
    cyborg_model_package *package = NULL;
    cyborg_model_record *record = NULL;
    size_t len = 0;
    EXPECT(INVALID_ARGUMENT, cyborg_model_export(db, "m", OTHER_KEY, 32, KEY, 16, &package, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_export(db, "m", OTHER_KEY, 32, NULL, 32, &package, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_export(db, "m", OTHER_KEY, 32, KEY, 32, NULL, &err));
    OK(cyborg_model_export(db, "m", OTHER_KEY, 32, KEY, 32, &package, &err));
    const uint8_t *data = cyborg_model_package_data(package, &len);
    CHECK(len > 16 * DIM * 4);
    EXPECT(WRONG_KEY, cyborg_model_import(elsewhere, data, len, OTHER_KEY, 32, NULL, KEY, 32, NULL, &err));
    EXPECT(CORRUPT, cyborg_model_import(elsewhere, data, len - 1, KEY, 32, NULL, KEY, 32, NULL, &err));
    EXPECT(CORRUPT, cyborg_model_import(elsewhere, data, 0, KEY, 32, NULL, KEY, 32, NULL, &err));
    EXPECT(NULL_ARGUMENT, cyborg_model_import(elsewhere, NULL, len, KEY, 32, NULL, KEY, 32, NULL, &err));
    OK(cyborg_model_import(elsewhere, data, len, KEY, 32, NULL, KEY, 32, NULL, &err));
    EXPECT(ALREADY_EXISTS, cyborg_model_import(elsewhere, data, len, KEY, 32, NULL, KEY, 32, &record, &err));
    OK(cyborg_model_import(elsewhere, data, len, KEY, 32, "n", OTHER_KEY, 32, &record, &err));
    CHECK(strcmp(cyborg_model_record_id(record, NULL), "n") == 0);
    CHECK(strcmp(cyborg_model_record_description(record, NULL), "a description, with a comma") == 0);
    cyborg_model_record_free(record);
    cyborg_model_package_free(package);
    cyborg_model_details d = details(elsewhere, "m", KEY);
    CHECK(d.state == CYBORG_MODEL_STATE_CREATED && d.used_by == 0 && d.n_lists == 16);
    cyborg_index_options options = from("m", NULL);
    cyborg_index *index = NULL;
    OK(cyborg_index_create(elsewhere, "made", KEY, 32, &options, &index, &err));
    fill_u64(index, 0, 100, DIM);
    cyborg_index_free(index);
    cyborg_db_free(elsewhere);
}

int main(void) {
    cyborg_db *db = open_memory();
    cyborg_index *index = source(db);
    trained(db, index);
    refused(db, index);
    made_from_it(db);
    failed_and_deleted(db);
    carried(db);
    cyborg_names *ids = NULL;
    OK(cyborg_index_model(index, &ids, &err));
    CHECK(cyborg_names_count(ids) == 0);
    cyborg_names_free(ids);
    OK(cyborg_db_drop_index(db, "made", KEY, 32, &err));
    OK(cyborg_db_drop_index(db, "second", OTHER_KEY, 32, &err));
    OK(cyborg_model_delete(db, "m", OTHER_KEY, 32, 0, &err));
    /* A job under way ends with its db, also when every handle is gone. */
    OK(cyborg_model_train(index, "last", KEY, 32, NULL, NULL, NULL, &err));
    cyborg_index_free(index);
    cyborg_db_free(db);
    return 0;
}
