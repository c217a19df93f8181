/* The parts of the plugin: options, log, database, password, topics, cache. plugin.c puts them together. */
#pragma once

#include <libpq-fe.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdbool.h>
#include <stddef.h>

/* An answer, or that there is none because the database gave none. Only answers may be remembered. */
enum answer { DENIED, GRANTED, FAILED };

/* options.c: what mosquitto.conf says in lines of auth_opt_*; text that is not given is NULL. */
struct options {
    char *backends, *hasher, *log_level, *log_dest;
    char *host, *port, *dbname, *user, *password, *sslmode, *sslrootcert, *sslcert, *sslkey;
    char *userquery, *superquery, *aclquery;
    long connect_tries, hasher_cost;
    long auth_seconds, auth_jitter, acl_seconds, acl_jitter;
    bool cache;
};
bool options_read(struct options *options, const struct mosquitto_opt *given, int count);
void options_free(struct options *options);

/* log.c: lines on standard output, or standard error; no password is ever handed to it. */
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO };
void log_configure(const struct options *options);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* database.c: one connection, which comes back by itself. */
bool database_open(const struct options *options);
void database_close(void);
/* Returns the rows, to be cleared, or NULL when there is no answer. The parameters are never part of the SQL. */
PGresult *database_query(const char *sql, int count, const char *const *parameters);

/* password.c */
bool password_matches(const char *password, const char *hash);

/* topics.c: topics here may be those of subscriptions, with wildcards of their own. */
#define TOPIC_SIZE 65536 /* MQTT has room for 65535 bytes */
bool topic_expand(const char *pattern, const char *username, const char *client_id, char topic[TOPIC_SIZE]);
bool topic_allowed(const char *allowed, const char *topic);

/* cache.c: bounded; holds keyed hashes of what was asked, neither names nor passwords. */
struct cache_key {
    unsigned char bytes[32];
};
bool cache_open(void);
void cache_close(void);
/* The list ends with NULL, and its first part tells what kind it is: lists of one kind are equally long. */
struct cache_key cache_key(const char *const *parts);
bool cache_find(const struct cache_key *key, enum answer *answer);
void cache_store(const struct cache_key *key, enum answer answer, long seconds, long jitter);
