/* log.c - the server's own log. See log.h. */
#include "edge/log.h"

#include "proto/printable.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 256 };

typedef struct {
    const char *part;
    uintptr_t what; /* the address of a format, or the hash of a text */
    uint64_t since_ms;
    uint32_t passed;
    uint64_t held;
} slot;

static struct {
    pthread_mutex_t lock;
    gr_log_level least;
    gr_log_format format;
    gr_log_sink sink;
    slot slots[SLOTS];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .least = GR_LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

static const char *const secret_names[] = {
    "access_token",  "refresh_token", "login_token", "loginToken", "registration_token", "client_secret",
    "shared_secret", "new_password",  "password",    "id_token",   "code_verifier",      "token",
};

static bool word_byte(char b) { return isalnum((unsigned char)b) || b == '_' || b == '-'; }

/* Size of a token of ours at s ("grt_ab_..."): a prefix and at least 12 bytes of the tokens' alphabet;
 * else 0. */
static size_t token_size(gr_str s)
{
    size_t size = 4;
    if (s.size < 16 || s.ptr[0] != 'g' || s.ptr[1] != 'r' || !islower((unsigned char)s.ptr[2])
        || s.ptr[3] != '_')
        return 0;
    while (size < s.size && word_byte(s.ptr[size])) size++;
    return size >= 16 ? size : 0;
}

static size_t blanks(gr_str s, size_t at)
{
    while (at < s.size && (s.ptr[at] == ' ' || s.ptr[at] == '\t')) at++;
    return at;
}

/* Where a value ends that began at at: at its quote, or without one at a blank or mark.  nested: the quote
 * was written \", JSON inside JSON, where a quote of the value itself is \\\". */
static size_t value_end(gr_str s, size_t at, char quote, bool nested)
{
    for (; at < s.size; at++) {
        char b = s.ptr[at], next = at + 1 < s.size ? s.ptr[at + 1] : 0;
        if (!quote && (isspace((unsigned char)b) || strchr("&,;}\"'", b))) break;
        if (quote && (nested ? b == '\\' && next == quote : b == quote)) break;
        if (quote && b == '\\') at += nested ? 3 : 1;
    }
    return at < s.size ? at : s.size;
}

/* If a secret's name and its sign (: or =) stand at s: where its value begins and ends. */
static bool named_value(gr_str s, size_t *begin, size_t *end)
{
    for (size_t i = 0; i < sizeof secret_names / sizeof secret_names[0]; i++) {
        gr_str name = gr_str_c(secret_names[i]);
        if (!gr_str_starts(s, name)) continue;
        size_t at = name.size;
        if (at < s.size && s.ptr[at] == '\\') at++; /* JSON inside JSON */
        if (at < s.size && (s.ptr[at] == '"' || s.ptr[at] == '\'')) at++;
        at = blanks(s, at);
        if (at >= s.size || (s.ptr[at] != ':' && s.ptr[at] != '=')) continue;
        at = blanks(s, at + 1);
        bool nested = at < s.size && s.ptr[at] == '\\';
        at += nested;
        char quote = at < s.size && (s.ptr[at] == '"' || s.ptr[at] == '\'') ? s.ptr[at++] : 0;
        *begin = at;
        *end = value_end(s, at, quote, nested);
        return *end > *begin;
    }
    return false;
}

static bool bearer_value(gr_str s, size_t *begin, size_t *end)
{
    if (s.size < 8 || strncasecmp(s.ptr, "bearer ", 7) != 0) return false;
    *begin = blanks(s, 6);
    *end = value_end(s, *begin, 0, false);
    return *end > *begin;
}

void gr_log_redact(gr_buf *out, gr_str text)
{
    for (size_t i = 0; i < text.size;) {
        gr_str rest = gr_str_from(text, i);
        bool starts_word = i == 0 || !isalnum((unsigned char)text.ptr[i - 1]);
        size_t begin = 4, end = starts_word ? token_size(rest) : 0;
        if (end || (starts_word && (named_value(rest, &begin, &end) || bearer_value(rest, &begin, &end)))) {
            gr_buf_str(out, gr_str_head(rest, begin));
            gr_buf_c(out, "[redacted]");
            i += end;
        } else gr_buf_char(out, text.ptr[i++]);
    }
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void write_stderr(gr_str line)
{
    while (line.size) {
        ssize_t n = write(STDERR_FILENO, line.ptr, line.size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* nowhere left to complain */
        line = gr_str_from(line, (size_t)n);
    }
}

static void time_text(char *out, size_t size, uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    char day[32];
    gmtime_r(&seconds, &parts);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, size, "%s.%03uZ", day, (unsigned)(ms % 1000));
}

static void json_string(gr_buf *out, gr_str s)
{
    gr_buf_char(out, '"');
    for (size_t i = 0; i < s.size; i++) {
        unsigned char b = (unsigned char)s.ptr[i];
        if (b == '"' || b == '\\') gr_buf_printf(out, "\\%c", b);
        else if (b < ' ') gr_buf_printf(out, "\\u%04x", b);
        else gr_buf_char(out, (char)b);
    }
    gr_buf_char(out, '"');
}

static void compose(gr_buf *line, uint64_t now_ms, gr_log_level level, const char *part, gr_str text,
                    uint64_t held)
{
    char when[64];
    gr_buf clean = {0}, shown = {0};
    time_text(when, sizeof when, now_ms);
    gr_log_redact(&clean, text);
    /* So that a stranger's text can't forge a line or drive the terminal. */
    gr_printable_add(&shown, gr_buf_view(&clean));
    if (state.format == GR_LOG_JSON) {
        gr_buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"part\":\"%s\",\"text\":", when,
                      level_names[level], part);
        json_string(line, gr_buf_view(&shown));
        if (held) gr_buf_printf(line, ",\"held_back\":%llu", (unsigned long long)held);
        gr_buf_c(line, "}\n");
    } else {
        gr_buf_printf(line, "%s %-7s %s: ", when, level_names[level], part);
        gr_buf_str(line, gr_buf_view(&shown));
        if (held) gr_buf_printf(line, " (and %llu more like it)", (unsigned long long)held);
        gr_buf_char(line, '\n');
    }
    gr_buf_free(&clean);
    gr_buf_free(&shown);
}

/* Whether this line passes; *held tells how many like it were kept back before.  Called with the lock. */
static bool passes(const char *part, uintptr_t what, uint64_t now_ms, uint64_t *held)
{
    slot *s = &state.slots[(what >> 3 ^ (uintptr_t)part >> 2) % SLOTS];
    *held = 0;
    if (s->what != what || s->part != part) *s = (slot){part, what, now_ms, 0, 0};
    if (now_ms - s->since_ms >= GR_LOG_REPEAT_WINDOW_MS) {
        *held = s->held;
        *s = (slot){part, what, now_ms, 0, 0};
    }
    if (s->passed == GR_LOG_REPEATS_MAX) {
        s->held++;
        return false;
    }
    s->passed++;
    return true;
}

void gr_log_setup(gr_log_level least, gr_log_format format, gr_log_sink sink)
{
    pthread_mutex_lock(&state.lock);
    state.least = least;
    state.format = format;
    state.sink = sink;
    memset(state.slots, 0, sizeof state.slots);
    pthread_mutex_unlock(&state.lock);
}

bool gr_log_wants(gr_log_level level) { return level >= state.least; }

/* Is it wanted, and not repeated too often? *now_ms, *held: for its line. */
static bool may_say(gr_log_level level, const char *part, uintptr_t what, uint64_t *now_ms, uint64_t *held)
{
    if (!gr_log_wants(level)) return false;
    pthread_mutex_lock(&state.lock);
    *now_ms = state.sink.now_ms ? state.sink.now_ms(state.sink.to) : wall_ms();
    bool pass = passes(part, what, *now_ms, held);
    pthread_mutex_unlock(&state.lock);
    return pass;
}

static void say(gr_log_level level, const char *part, gr_str text, uint64_t now_ms, uint64_t held)
{
    gr_buf line = {0};
    compose(&line, now_ms, level, part, gr_str_head(text, GR_LOG_LINE_MAX - 1), held);
    pthread_mutex_lock(&state.lock);
    if (state.sink.write) state.sink.write(state.sink.to, gr_buf_view(&line));
    else write_stderr(gr_buf_view(&line));
    pthread_mutex_unlock(&state.lock);
    gr_buf_free(&line);
}

void gr_log(gr_log_level level, const char *part, const char *format, ...)
{
    char text[GR_LOG_LINE_MAX];
    uint64_t now_ms, held;
    va_list args;
    if (!may_say(level, part, (uintptr_t)format, &now_ms, &held)) return;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size >= 0) say(level, part, gr_str_of(text, (size_t)size), now_ms, held);
}

void gr_log_text(gr_log_level level, const char *part, gr_str text)
{
    uint64_t now_ms, held;
    if (may_say(level, part, (uintptr_t)gr_str_hash(text), &now_ms, &held)) say(level, part, text, now_ms, held);
}
