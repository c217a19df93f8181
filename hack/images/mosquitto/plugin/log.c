/* Lines in the form of mosquitto-go-auth. */
#include "plugin.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static enum log_level limit = LOG_INFO;
static bool to_stdout;

void log_configure(const struct options *options) {
    const char *level = options->log_level == NULL ? "info" : options->log_level;
    limit = strcmp(level, "warn") == 0 ? LOG_WARNING : LOG_INFO;
    if (strcmp(level, "error") == 0 || strcmp(level, "fatal") == 0 || strcmp(level, "panic") == 0) limit = LOG_ERROR;
    to_stdout = options->log_dest != NULL && strcmp(options->log_dest, "stdout") == 0;
    /* The broker's own lines, which it keeps back until they fill a block, before version 2.0.18. */
    setvbuf(stdout, NULL, _IOLBF, 0);
}

void log_line(enum log_level level, const char *format, ...) {
    static const char *const names[] = {"error", "warning", "info"};
    if (level > limit) return;

    char message[1024], when[32];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    /* libpq's messages end with a newline and may hold more; one event is one line. */
    size_t length = strlen(message);
    while (length > 0 && message[length - 1] == '\n') message[--length] = '\0';
    for (char *c = message; *c != '\0'; c++) {
        if (*c == '"') *c = '\'';
        if ((unsigned char)*c < ' ') *c = ' ';
    }

    time_t now = time(NULL);
    struct tm parts;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    FILE *file = to_stdout ? stdout : stderr;
    fprintf(file, "time=\"%s\" level=%s msg=\"%s\"\n", when, names[level], message);
    fflush(file);
}
