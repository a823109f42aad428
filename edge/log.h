/* log.h - the server's own log: lines for people or JSON objects on standard error.
 *
 * Every line is passed through gr_log_redact, so a token in a text never reaches the log.  Of lines that
 * repeat (same part and same format) five pass in ten seconds; the rest is counted, and told with the
 * next that passes. Any thread of the edge may call; floors below report by values and never log
 * themselves.
 */
#pragma once
#include "proto/str.h"

typedef enum { GR_LOG_DEBUG, GR_LOG_INFO, GR_LOG_WARNING, GR_LOG_ERROR } gr_log_level;
typedef enum { GR_LOG_TEXT, GR_LOG_JSON } gr_log_format;
enum { GR_LOG_REPEATS_MAX = 5, GR_LOG_REPEAT_WINDOW_MS = 10000, GR_LOG_LINE_MAX = 8192 };

/* Where lines go and what time it is.  {0} members stand for standard error and the wall clock. */
typedef struct {
    void (*write)(void *to, gr_str line);        /* line ends with a newline */
    void *to;
    uint64_t (*now_ms)(void *to);                /* since 1970 */
} gr_log_sink;

/* Called once before threads start (again in tests): forgets the counts of repeats. */
void gr_log_setup(gr_log_level least, gr_log_format, gr_log_sink);
/* part: what speaks, a literal like "http".  format is a literal: its address tells repeats.  No newline. */
void gr_log(gr_log_level, const char *part, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A line that a floor below has made: the text itself tells repeats. Who makes it bounds how many there are. */
void gr_log_text(gr_log_level, const char *part, gr_str text);
bool gr_log_wants(gr_log_level);                 /* is it worth preparing the arguments */

/* Appends text with secrets replaced by "[redacted]": tokens gr?_..., values of access_token, refresh_token,
 * password and the like in JSON, queries and forms, and what follows "Bearer". */
void gr_log_redact(gr_buf *out, gr_str text);
