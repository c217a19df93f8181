/* The options are a table: what is not in it, or has no such value, is named and keeps the broker from starting. */
#include "plugin.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define HIGHEST 1000000L

enum kind { TEXT, NUMBER, SWITCH };

struct option {
    const char *name;
    enum kind kind;
    size_t offset;
    bool required;
    const char *standard;       /* its value when it is not given */
    const char *const *choices; /* of a text; NULL: any */
    long lowest;                /* of a number */
};

#define FIELD(field) .offset = offsetof(struct options, field)
#define CHOICES(...) .choices = (const char *const[]){__VA_ARGS__, NULL}

static const struct option TABLE[] = {
    {"backends", TEXT, FIELD(backends), .required = true, CHOICES("postgres")},
    {"hasher", TEXT, FIELD(hasher), .required = true, CHOICES("bcrypt")},
    {"hasher_cost", NUMBER, FIELD(hasher_cost), .standard = "10", .lowest = 4},
    {"log_level", TEXT, FIELD(log_level), .standard = "info",
     CHOICES("debug", "info", "warn", "error", "fatal", "panic")},
    {"log_dest", TEXT, FIELD(log_dest), .standard = "stderr", CHOICES("stdout", "stderr")},
    {"pg_host", TEXT, FIELD(host), .standard = "localhost"},
    {"pg_port", TEXT, FIELD(port), .standard = "5432"},
    {"pg_dbname", TEXT, FIELD(dbname), .required = true},
    {"pg_user", TEXT, FIELD(user), .required = true},
    {"pg_password", TEXT, FIELD(password), .required = true},
    {"pg_sslmode", TEXT, FIELD(sslmode), .standard = "verify-full",
     CHOICES("disable", "require", "verify-ca", "verify-full")},
    {"pg_sslrootcert", TEXT, FIELD(sslrootcert)},
    {"pg_sslcert", TEXT, FIELD(sslcert)},
    {"pg_sslkey", TEXT, FIELD(sslkey)},
    {"pg_connect_tries", NUMBER, FIELD(connect_tries), .standard = "0", .lowest = -1},
    {"pg_userquery", TEXT, FIELD(userquery), .required = true},
    {"pg_superquery", TEXT, FIELD(superquery)},
    {"pg_aclquery", TEXT, FIELD(aclquery)},
    {"cache", SWITCH, FIELD(cache), .standard = "false"},
    {"auth_cache_seconds", NUMBER, FIELD(auth_seconds), .standard = "30"},
    {"auth_jitter_seconds", NUMBER, FIELD(auth_jitter), .standard = "0"},
    {"acl_cache_seconds", NUMBER, FIELD(acl_seconds), .standard = "30"},
    {"acl_jitter_seconds", NUMBER, FIELD(acl_jitter), .standard = "0"},
};
#define COUNT (sizeof TABLE / sizeof *TABLE)

static char **text_of(struct options *options, const struct option *option) {
    return (char **)((char *)options + option->offset);
}

static void forget(char **text) {
    if (*text != NULL) OPENSSL_cleanse(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

static bool set_text(const struct option *option, char **text, const char *value) {
    const char *const *choice = option->choices;
    while (choice != NULL && *choice != NULL && strcmp(*choice, value) != 0) choice++;
    if (choice != NULL && *choice == NULL) return false;
    forget(text);
    *text = strdup(value);
    return *text != NULL;
}

static bool set_number(const struct option *option, long *number, const char *value) {
    char *end;
    errno = 0;
    *number = strtol(value, &end, 10);
    return errno == 0 && end != value && *end == '\0' && *number >= option->lowest && *number <= HIGHEST;
}

static bool set_switch(bool *on, const char *value) {
    *on = strcmp(value, "true") == 0;
    return *on || strcmp(value, "false") == 0;
}

static bool set(const struct option *option, struct options *options, const char *value) {
    char *field = (char *)options + option->offset;
    if (option->kind == NUMBER) return set_number(option, (long *)(void *)field, value);
    if (option->kind == SWITCH) return set_switch((bool *)field, value);
    return set_text(option, text_of(options, option), value);
}

/* Says what would be right, and never the value that is wrong: it may be a password in the wrong place. */
static void complain(const struct option *option) {
    if (option->kind == NUMBER) {
        log_line(LOG_ERROR, "auth_opt_%s: not a whole number from %ld to %ld", option->name, option->lowest, HIGHEST);
    } else if (option->kind == SWITCH) {
        log_line(LOG_ERROR, "auth_opt_%s: neither true nor false", option->name);
    } else {
        char known[128] = "";
        for (const char *const *choice = option->choices; choice != NULL && *choice != NULL; choice++) {
            strncat(known, " ", sizeof known - strlen(known) - 1);
            strncat(known, *choice, sizeof known - strlen(known) - 1);
        }
        log_line(LOG_ERROR, "auth_opt_%s: this plugin knows only%s", option->name, known);
    }
}

static const struct option *find(const char *name) {
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(TABLE[i].name, name) == 0) return &TABLE[i];
    }
    return NULL;
}

static void limit_jitter(const char *kind, long *jitter, long seconds) {
    if (*jitter <= seconds) return;
    log_line(LOG_WARNING, "auth_opt_%s_jitter_seconds: more than the cache's seconds, so it is %ld", kind, seconds);
    *jitter = seconds;
}

/* Returns false, having said why, when they cannot be used. */
bool options_read(struct options *options, const struct mosquitto_opt *given, int count) {
    bool usable = true;
    *options = (struct options){0};
    for (size_t i = 0; i < COUNT; i++) {
        if (TABLE[i].standard != NULL && !set(&TABLE[i], options, TABLE[i].standard)) return false;
    }
    for (int i = 0; i < count; i++) {
        const struct option *option = find(given[i].key);
        if (option == NULL) {
            log_line(LOG_ERROR, "auth_opt_%s: no option of this plugin", given[i].key);
            usable = false;
        } else if (!set(option, options, given[i].value)) {
            complain(option);
            usable = false;
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (!TABLE[i].required || *text_of(options, &TABLE[i]) != NULL) continue;
        log_line(LOG_ERROR, "auth_opt_%s: missing", TABLE[i].name);
        usable = false;
    }
    limit_jitter("auth", &options->auth_jitter, options->auth_seconds);
    limit_jitter("acl", &options->acl_jitter, options->acl_seconds);
    return usable;
}

void options_free(struct options *options) {
    for (size_t i = 0; i < COUNT; i++) {
        if (TABLE[i].kind == TEXT) forget(text_of(options, &TABLE[i]));
    }
}
