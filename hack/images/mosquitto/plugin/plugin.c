/* What the broker calls: the interface of version 4, as mosquitto-go-auth has it. The broker has one thread. */
#include "plugin.h"

#include <mosquitto.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

static struct options options;

/* A client need not give a name or a password. */
static const char *text(const char *value) {
    return value == NULL ? "" : value;
}

/* The first column of a row; empty when there is no such row or column, or NULL in it. */
static const char *cell(const PGresult *rows, int row) {
    return row < PQntuples(rows) && PQnfields(rows) > 0 ? PQgetvalue(rows, row, 0) : "";
}

static enum answer ask_superuser(const char *username) {
    if (options.superquery == NULL) return DENIED;
    PGresult *rows = database_query(options.superquery, 1, &username);
    if (rows == NULL) return FAILED;
    enum answer answer = strtol(cell(rows, 0), NULL, 10) > 0 ? GRANTED : DENIED;
    PQclear(rows);
    return answer;
}

static enum answer ask_password(const char *username, const char *password) {
    PGresult *rows = database_query(options.userquery, 1, &username);
    if (rows == NULL) return FAILED;
    enum answer answer = password_matches(password, cell(rows, 0)) ? GRANTED : DENIED;
    PQclear(rows);
    return answer;
}

static enum answer ask_acl(const char *username, const char *client_id, const char *topic, const char *access) {
    static char allowed[TOPIC_SIZE];
    enum answer superuser = ask_superuser(username);
    if (superuser == GRANTED || options.aclquery == NULL) return GRANTED;

    PGresult *rows = database_query(options.aclquery, 2, (const char *const[]){username, access});
    if (rows == NULL) return FAILED;
    bool granted = false;
    for (int row = 0; !granted && row < PQntuples(rows); row++) {
        granted = topic_expand(cell(rows, row), username, client_id, allowed) && topic_allowed(allowed, topic);
    }
    PQclear(rows);
    /* Who is not known to be no superuser is not denied. */
    return granted ? GRANTED : superuser;
}

static int result(enum answer answer, int denied) {
    if (answer == GRANTED) return MOSQ_ERR_SUCCESS;
    /* As mosquitto-go-auth: the broker ends the connection, and the client may try again. */
    return answer == FAILED ? MOSQ_ERR_UNKNOWN : denied;
}

EXPORT int mosquitto_auth_plugin_version(void) {
    return 4;
}

EXPORT int mosquitto_auth_plugin_init(void **user_data, struct mosquitto_opt *given, int count) {
    (void)user_data;
    bool usable = options_read(&options, given, count);
    log_configure(&options);
    if (!usable || !cache_open() || !database_open(&options)) return MOSQ_ERR_INVAL;
    log_line(LOG_INFO, "backend registered: Postgres");
    return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_auth_plugin_cleanup(void *user_data, struct mosquitto_opt *given, int count) {
    (void)user_data, (void)given, (void)count;
    database_close();
    cache_close();
    options_free(&options);
    return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_auth_security_init(void *user_data, struct mosquitto_opt *given, int count, bool reload) {
    (void)user_data, (void)given, (void)count, (void)reload;
    return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_auth_security_cleanup(void *user_data, struct mosquitto_opt *given, int count, bool reload) {
    (void)user_data, (void)given, (void)count, (void)reload;
    return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_auth_unpwd_check(
    void *user_data, struct mosquitto *client, const char *username, const char *password
) {
    (void)user_data, (void)client;
    username = text(username);
    password = text(password);
    if (*username == '\0' || *password == '\0') return result(FAILED, MOSQ_ERR_AUTH);

    struct cache_key key = cache_key((const char *const[]){"auth", username, password, NULL});
    enum answer answer;
    if (options.cache && cache_find(&key, &answer)) return result(answer, MOSQ_ERR_AUTH);
    answer = ask_password(username, password);
    if (options.cache && answer != FAILED) cache_store(&key, answer, options.auth_seconds, options.auth_jitter);
    return result(answer, MOSQ_ERR_AUTH);
}

EXPORT int mosquitto_auth_acl_check(
    void *user_data, int access, struct mosquitto *client, const struct mosquitto_acl_msg *message
) {
    (void)user_data;
    const char *username = mosquitto_client_username(client), *client_id = mosquitto_client_id(client);
    if (username == NULL || client_id == NULL || message->topic == NULL) return MOSQ_ERR_ACL_DENIED;
    if (access < MOSQ_ACL_READ || access > MOSQ_ACL_SUBSCRIBE) return MOSQ_ERR_ACL_DENIED;

    const char bit[] = {(char)('0' + access), '\0'};
    struct cache_key key = cache_key((const char *const[]){"acl", username, client_id, message->topic, bit, NULL});
    enum answer answer;
    if (options.cache && cache_find(&key, &answer)) return result(answer, MOSQ_ERR_ACL_DENIED);
    answer = ask_acl(username, client_id, message->topic, bit);
    if (options.cache && answer != FAILED) cache_store(&key, answer, options.acl_seconds, options.acl_jitter);
    return result(answer, MOSQ_ERR_ACL_DENIED);
}
