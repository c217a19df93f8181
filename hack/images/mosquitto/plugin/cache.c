/* Answers for some seconds. A table of fixed size: a full set gives up what would have expired first. */
#include "plugin.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETS 1024
#define WAYS 8

struct entry {
    struct cache_key key;
    int64_t expires; /* milliseconds; 0: empty */
    enum answer answer;
};

static struct entry entries[SETS][WAYS];
static struct cache_key secret;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static struct entry *set_of(const struct cache_key *key) {
    uint16_t number;
    memcpy(&number, key->bytes, sizeof number);
    return entries[number % SETS];
}

bool cache_open(void) {
    memset(entries, 0, sizeof entries);
    return RAND_bytes(secret.bytes, sizeof secret.bytes) == 1;
}

void cache_close(void) {
    OPENSSL_cleanse(&secret, sizeof secret);
    OPENSSL_cleanse(entries, sizeof entries);
}

/* Each part is hashed with the hash before it as the key, so that a-b and c is not a and b-c. */
struct cache_key cache_key(const char *const *parts) {
    struct cache_key key = secret, next;
    for (; *parts != NULL; parts++) {
        const unsigned char *part = (const unsigned char *)*parts;
        /* Without a hash all would have the same key. */
        if (HMAC(EVP_sha256(), key.bytes, sizeof key.bytes, part, strlen(*parts), next.bytes, NULL) == NULL) abort();
        key = next;
    }
    return key;
}

bool cache_find(const struct cache_key *key, enum answer *answer) {
    struct entry *set = set_of(key);
    int64_t time = now();
    for (int i = 0; i < WAYS; i++) {
        if (set[i].expires > time && CRYPTO_memcmp(&set[i].key, key, sizeof *key) == 0) {
            *answer = set[i].answer;
            return true;
        }
    }
    return false;
}

/* Remembers the answer for so many seconds, give or take the jitter, so that not all expire at once. */
void cache_store(const struct cache_key *key, enum answer answer, long seconds, long jitter) {
    struct entry *set = set_of(key), *place = set;
    for (int i = 0; i < WAYS; i++) {
        if (memcmp(&set[i].key, key, sizeof *key) == 0) {
            place = &set[i];
            break;
        }
        if (set[i].expires < place->expires) place = &set[i];
    }
    uint32_t random = 0;
    int64_t lifetime = seconds * INT64_C(1000), spread = jitter * INT64_C(1000);
    if (spread > 0 && RAND_bytes((unsigned char *)&random, sizeof random) == 1) {
        lifetime += random % (2 * spread) - spread;
    }
    *place = (struct entry){.key = *key, .expires = now() + lifetime, .answer = answer};
}
