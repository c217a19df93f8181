/* For tests: calls the plugin's parts without a broker, mostly with AddressSanitizer compiled in.

   driver topics           answers each line "pattern TAB username TAB client id TAB topic" with 1 or 0
   driver fuzz N SEED      hands N random inputs to every part that sees what clients and configuration say */
#include "plugin.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef NDEBUG
#define LONGEST 70000

static char first[LONGEST], second[LONGEST], third[LONGEST], expanded[TOPIC_SIZE];

/* What the broker has for the plugin. */
const char *mosquitto_client_id(const struct mosquitto *client) {
    (void)client;
    return first;
}

const char *mosquitto_client_username(const struct mosquitto *client) {
    (void)client;
    return second;
}

static bool allows(const char *pattern, const char *username, const char *client_id, const char *topic) {
    return topic_expand(pattern, username, client_id, expanded) && topic_allowed(expanded, topic);
}

static int answer_topics(void) {
    static char line[4 * LONGEST];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *part[4], *rest = line;
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < 4; i++) part[i] = strsep(&rest, "\t");
        if (part[3] == NULL) return EXIT_FAILURE;
        puts(allows(part[0], part[1], part[2], part[3]) ? "1" : "0");
    }
    return EXIT_SUCCESS;
}

/* Mostly short texts of the characters that mean something; now and then long ones, and any bytes. */
static const char *randomise(char *text) {
    static const char special[] = "/+#%uc$a,-";
    int kind = rand() % 16;
    size_t length = (size_t)rand() % (kind == 0 ? LONGEST - 1 : 12);
    for (size_t i = 0; i < length; i++) {
        text[i] = special[(size_t)rand() % (sizeof special - 1)];
        if (kind == 1) text[i] = (char)(1 + rand() % 255);
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
    cache_close();
    return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
    if (count == 2 && strcmp(arguments[1], "topics") == 0) return answer_topics();
    if (count != 4 || strcmp(arguments[1], "fuzz") != 0) return EXIT_FAILURE;
    return fuzz(strtol(arguments[2], NULL, 10), (unsigned int)strtoul(arguments[3], NULL, 10));
}
