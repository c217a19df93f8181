/* For tests: calls the plugin in place of the broker, with AddressSanitizer compiled in, which no broker bears.

   driver broker FILE      is configured by a mosquitto.conf, and answers these lines with the plugin's results:
                           "login TAB username TAB password", "acl TAB username TAB client id TAB topic TAB access"
   driver topics           answers lines "pattern TAB username TAB client id TAB topic" with 1 for allowed, or 0
   driver fuzz N SEED      hands N random inputs to all that sees what clients and configuration say */
#include "plugin.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef NDEBUG
#define LONGEST 70000

#define PARTS 5

static char first[LONGEST], second[LONGEST], third[LONGEST], expanded[TOPIC_SIZE], line[PARTS * LONGEST];
static char *part[PARTS];

/* What the broker has for the plugin; the client is the parts of a line. */
const char *mosquitto_client_username(const struct mosquitto *client) {
    (void)client;
    return part[1];
}

const char *mosquitto_client_id(const struct mosquitto *client) {
    (void)client;
    return part[2];
}

/* Cuts the next line up at its tabs; parts that it does not have are NULL. */
static bool next_line(FILE *file) {
    if (fgets(line, sizeof line, file) == NULL) return false;
    char *rest = line;
    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < PARTS; i++) part[i] = strsep(&rest, "\t");
    return true;
}

/* Reads the lines of auth_opt_* and forgets the rest. */
static int read_options(const char *path, struct mosquitto_opt *options, int most) {
    static const char prefix[] = "auth_opt_";
    int count = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    while (count < most && next_line(file)) {
        char *value = line, *key = strsep(&value, " ");
        if (value == NULL || strncmp(key, prefix, sizeof prefix - 1) != 0) continue;
        options[count++] = (struct mosquitto_opt){strdup(key + sizeof prefix - 1), strdup(value)};
    }
    fclose(file);
    return count;
}

static int be_broker(const char *configuration) {
    struct mosquitto_opt options[32];
    int count = read_options(configuration, options, 32), failed = mosquitto_auth_plugin_init(NULL, options, count);
    for (int i = 0; i < count; i++) { /* the plugin has to have its own copies */
        free(options[i].key);
        free(options[i].value);
    }
    while (!failed && next_line(stdin)) {
        struct mosquitto_acl_msg message = {.topic = part[3]};
        if (strcmp(part[0], "login") == 0) printf("%d\n", mosquitto_auth_unpwd_check(NULL, NULL, part[1], part[2]));
        if (strcmp(part[0], "acl") == 0) printf("%d\n", mosquitto_auth_acl_check(NULL, atoi(part[4]), NULL, &message));
        fflush(stdout);
    }
    mosquitto_auth_plugin_cleanup(NULL, NULL, 0);
    return failed;
}

static bool allows(const char *pattern, const char *username, const char *client_id, const char *topic) {
    return topic_expand(pattern, username, client_id, expanded) && topic_allowed(expanded, topic);
}

static int answer_topics(void) {
    while (next_line(stdin)) puts(allows(part[0], part[1], part[2], part[3]) ? "1" : "0");
    return EXIT_SUCCESS;
}

/* Mostly short texts of the characters that mean something; now and then long ones, and any bytes. */
static const char *randomise(char *text) {
    static const char special[] = "/+#%uc$a,-";
    int kind = rand() % 64;
    size_t length = (size_t)rand() % (kind == 0 ? LONGEST - 1 : 12);
    for (size_t i = 0; i < length; i++) {
        text[i] = special[(size_t)rand() % (sizeof special - 1)];
        if (kind % 16 == 1) text[i] = (char)(1 + rand() % 255);
    }
    text[length] = '\0';
    return text;
}

static void fuzz_topics(void) {
    const char *pattern = randomise(first), *name = randomise(second), *topic = randomise(third);
    assert(topic_allowed(pattern, pattern));
    assert(topic_allowed("#", topic));
    if (strpbrk(pattern, "+#") == NULL) assert(topic_allowed(pattern, topic) == (strcmp(pattern, topic) == 0));
    if (!topic_expand(pattern, name, topic, expanded)) return;
    assert(strlen(expanded) < TOPIC_SIZE);
    if (strchr(pattern, '%') == NULL) assert(strcmp(expanded, pattern) == 0);
    topic_allowed(expanded, topic);
}

static void fuzz_cache(void) {
    const char *name = randomise(first), *password = randomise(second);
    struct cache_key key = cache_key((const char *const[]){"auth", name, password, NULL});
    enum answer answer, stored = rand() % 2 == 0 ? GRANTED : DENIED;
    cache_store(&key, stored, 1000, rand() % 1000);
    assert(cache_find(&key, &answer) && answer == stored);
    cache_store(&key, stored, 0, 0);
    assert(!cache_find(&key, &answer));
    if (*password == '\0' || strlen(name) + 1 >= LONGEST) return;

    /* Where the name ends and the password begins makes a difference. */
    strncat(first, password, 1);
    struct cache_key moved = cache_key((const char *const[]){"auth", name, password + 1, NULL});
    assert(memcmp(&moved, &key, sizeof key) != 0);
}

/* Stores more than there is room for: the last ones are there, each with its own answer. */
static void fill_cache(void) {
    int found = 0;
    enum answer answer;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20000; i++) {
            snprintf(first, sizeof first, "%d", i);
            struct cache_key key = cache_key((const char *const[]){"acl", first, NULL});
            if (round == 0) {
                cache_store(&key, i % 2 == 0 ? GRANTED : DENIED, 1000 + i, 0);
            } else if (cache_find(&key, &answer)) {
                assert(answer == (i % 2 == 0 ? GRANTED : DENIED));
                found++;
            } else {
                assert(i < 19800);
            }
        }
    }
    assert(found > 7000 && found <= 8192);
}

static void fuzz_password(void) {
    randomise(second);
    assert(!password_matches(randomise(first), second));
    char hash[] = "$2b$04$......................aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    hash[rand() % 7] = (char)(1 + rand() % 127); /* the kind and the cost, which stays low unless it is malformed */
    if (strncmp(hash + 4, "04", 2) == 0) assert(!password_matches(first, hash));
}

static void fuzz_options(void) {
    static char *const names[] = {"backends", "pg_sslmode", "auth_cache_seconds", "cache", "acl_jitter_seconds"};
    struct mosquitto_opt given[4];
    for (int i = 0; i < 4; i++) {
        given[i].key = rand() % 8 == 0 ? first : names[(size_t)rand() % (sizeof names / sizeof *names)];
        given[i].value = rand() % 4 == 0 ? "12" : second;
    }
    randomise(first);
    randomise(second);
    struct options options;
    assert(!options_read(&options, given, 4)); /* too few of them to be enough */
    options_free(&options);
}

static int fuzz(long count, unsigned int seed) {
    srand(seed);
    if (!cache_open()) return EXIT_FAILURE;
    for (long i = 0; i < count; i++) {
        fuzz_topics();
        fuzz_cache();
        if (i % 16 == 0) fuzz_options();
        if (i % 64 == 0) fuzz_password();
    }
    fill_cache();
    cache_close();
    return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "broker") == 0) return be_broker(arguments[2]);
    if (count == 2 && strcmp(arguments[1], "topics") == 0) return answer_topics();
    if (count != 4 || strcmp(arguments[1], "fuzz") != 0) return EXIT_FAILURE;
    return fuzz(strtol(arguments[2], NULL, 10), (unsigned int)strtoul(arguments[3], NULL, 10));
}
