/* The connection to PostgreSQL. When it breaks, the next question makes a new one; the broker goes on meanwhile. */
#include "plugin.h"

#include <unistd.h>

#define RETRY_SECONDS 2

static PGconn *connection;

static void connect_once(const struct options *options) {
    const struct { const char *name, *value; } given[] = {
        {"host", options->host},
        {"port", options->port},
        {"dbname", options->dbname},
        {"user", options->user},
        {"password", options->password},
        {"sslmode", options->sslmode},
        {"sslrootcert", options->sslrootcert},
        {"sslcert", options->sslcert},
        {"sslkey", options->sslkey},
        {"gssencmode", "disable"},
        {"client_encoding", "UTF8"},
        /* The broker stands still meanwhile. Seconds; milliseconds. */
        {"connect_timeout", "5"},
        {"tcp_user_timeout", "5000"},
    };
    const char *names[sizeof given / sizeof *given + 1] = {0}, *values[sizeof given / sizeof *given + 1] = {0};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        names[i] = given[i].name;
        values[i] = given[i].value;
    }
    PQfinish(connection);
    connection = PQconnectdbParams(names, values, 0);
}

/* Returns once the database answers; false when it has not by the number of tries that the options allow. */
bool database_open(const struct options *options) {
    long tries = options->connect_tries == 0 ? 1 : options->connect_tries;
    for (;;) {
        connect_once(options);
        if (PQstatus(connection) == CONNECTION_OK) return true;
        if (tries > 0 && --tries == 0) break;
        const char *reason = PQerrorMessage(connection);
        log_line(LOG_ERROR, "ping database postgres error, will retry in %ds: %s", RETRY_SECONDS, reason);
        sleep(RETRY_SECONDS);
    }
    log_line(LOG_ERROR, "couldn't ping database postgres: %s", PQerrorMessage(connection));
    return false;
}

void database_close(void) {
    PQfinish(connection);
    connection = NULL;
}

PGresult *database_query(const char *sql, int count, const char *const *parameters) {
    /* That the server has gone shows only when it is asked; then it is asked once more, by a new connection. */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (PQstatus(connection) != CONNECTION_OK) {
            PQreset(connection);
            if (PQstatus(connection) != CONNECTION_OK) break;
            log_line(LOG_INFO, "connected to database postgres again");
        }
        PGresult *result = PQexecParams(connection, sql, count, NULL, parameters, NULL, NULL, 0);
        if (PQresultStatus(result) == PGRES_TUPLES_OK) return result;
        PQclear(result);
        if (PQstatus(connection) == CONNECTION_OK) break;
    }
    log_line(LOG_ERROR, "query failed: %s", PQerrorMessage(connection));
    return NULL;
}
