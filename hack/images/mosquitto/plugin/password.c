/* bcrypt by libxcrypt. */
#include "plugin.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define BCRYPT_LENGTH 60

/* Other kinds of hash are refused: crypt_r would verify DES as well, which anybody can break. */
bool password_matches(const char *password, const char *hash) {
    if (strncmp(hash, "$2", 2) != 0 || strlen(hash) != BCRYPT_LENGTH) return false;
    struct crypt_data *data = calloc(1, sizeof *data);
    if (data == NULL) return false;
    const char *computed = crypt_r(password, hash, data);
    bool same = computed != NULL && strlen(computed) == BCRYPT_LENGTH &&
                CRYPTO_memcmp(computed, hash, BCRYPT_LENGTH) == 0;
    OPENSSL_cleanse(data, sizeof *data);
    free(data);
    return same;
}
