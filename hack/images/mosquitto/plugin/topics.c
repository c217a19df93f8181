/* Which topics a row of the ACL allows. */
#include "plugin.h"

#include <string.h>

/* Puts the client's names where the pattern says %u and %c, and the result into `topic`. Returns false when no topic of
   MQTT can be meant: it would be too long, or a name would bring a wildcard or a level of its own. */
bool topic_expand(const char *pattern, const char *username, const char *client_id, char topic[TOPIC_SIZE]) {
    size_t length = 0;
    while (*pattern != '\0') {
        const char *value = pattern;
        size_t size = 1, taken = 1;
        if (pattern[0] == '%' && (pattern[1] == 'u' || pattern[1] == 'c')) {
            value = pattern[1] == 'u' ? username : client_id;
            size = strlen(value);
            taken = 2;
            if (strpbrk(value, "+#/") != NULL) return false;
        }
        if (size >= TOPIC_SIZE - length) return false;
        memcpy(topic + length, value, size);
        length += size;
        pattern += taken;
    }
    topic[length] = '\0';
    return true;
}

/* Tells whether all that `topic` stands for, wildcards included, is within `allowed`. Unlike a subscription, a # in
   `allowed` includes the topics that begin with $. */
bool topic_allowed(const char *allowed, const char *topic) {
    if (strcmp(allowed, topic) == 0) return true;
    for (;;) {
        size_t expected = strcspn(allowed, "/"), size = strcspn(topic, "/");
        if (expected == 1 && *allowed == '#') return allowed[1] == '\0';
        if (expected == 1 && *allowed == '+') {
            if (size == 1 && *topic == '#') return false;
        } else if (size != expected || memcmp(allowed, topic, size) != 0) {
            return false;
        }
        allowed += expected;
        topic += size;
        if (*topic == '\0') return *allowed == '\0' || strcmp(allowed, "/#") == 0;
        if (*allowed == '\0') return false;
        allowed++;
        topic++;
    }
}
