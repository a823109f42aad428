/* well_known.c - the cache of delegations. See well_known.h. */
#include "edge/well_known.h"

#include "proto/ident.h"
#include "proto/json.h"

#include <curl/curl.h>
#include <strings.h>

typedef struct {
    uint64_t until_ms, said_ms;    /* said_ms: when the delegate was told */
    unsigned failures;
    size_t delegate_size;
    char delegate[GR_SERVER_NAME_MAX];
} entry;

gr_lru *gr_well_known_new(void) { return gr_lru_new(sizeof(entry), GR_WELL_KNOWN_ENTRIES, 0, NULL); }

bool gr_well_known_find(gr_lru *w, gr_str host, uint64_t now_ms, gr_str *delegate, uint64_t *until_ms)
{
    const entry *e = gr_lru_find(w, host);
    if (!e || e->until_ms <= now_ms) return false;
    *delegate = gr_str_of(e->delegate, e->delegate_size);
    *until_ms = e->until_ms;
    return true;
}

/* --- one answer -------------------------------------------------------------------------------------------- */
bool gr_well_known_parse(gr_arena *arena, gr_str body, gr_str *delegate)
{
    const gr_json *json = NULL;
    *delegate = (gr_str){0};
    if (gr_failed(gr_json_parse(arena, body, GR_JSON_LAX, &json))) return false;
    gr_str name = gr_json_text(json, "m.server");
    if (!gr_ident_server_name(name)) return false;
    *delegate = name;
    return true;
}

static gr_str trimmed(gr_str s)
{
    while (s.size && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s = gr_str_from(s, 1);
    while (s.size && strchr(" \t\r\n", s.ptr[s.size - 1])) s.size--;
    return s;
}

static bool starts(gr_str s, const char *word)
{
    size_t size = strlen(word);
    return s.size >= size && strncasecmp(s.ptr, word, size) == 0;
}

/* max-age wins over Expires; what must not be kept is kept for the least time all the same, or every request would ask. */
uint64_t gr_well_known_lifetime(gr_str cache_control, gr_str expires, uint64_t now_ms)
{
    uint64_t ms = GR_WELL_KNOWN_DEFAULT_MS, seconds = 0;
    bool told = false;
    while (cache_control.size) {
        ptrdiff_t comma = gr_str_find(cache_control, ',');
        gr_str part = trimmed(comma < 0 ? cache_control : gr_str_head(cache_control, (size_t)comma));
        cache_control = comma < 0 ? (gr_str){0} : gr_str_from(cache_control, (size_t)comma + 1);
        if (starts(part, "no-store") || starts(part, "no-cache")) return GR_WELL_KNOWN_MIN_MS;
        if (!starts(part, "max-age=") || !gr_str_u64(gr_str_from(part, 8), &seconds)) continue;
        ms = seconds < GR_WELL_KNOWN_MAX_MS / 1000 ? seconds * 1000 : GR_WELL_KNOWN_MAX_MS;
        told = true;
    }
    char date[64];
    if (!told && expires.size && expires.size < sizeof date) {
        memcpy(date, expires.ptr, expires.size);
        date[expires.size] = 0;
        int64_t at_s = (int64_t)curl_getdate(date, NULL), now_s = (int64_t)(now_ms / 1000);
        ms = at_s > now_s ? (uint64_t)(at_s - now_s) * 1000 : 0;
    }
    if (ms < GR_WELL_KNOWN_MIN_MS) return GR_WELL_KNOWN_MIN_MS;
    return ms < GR_WELL_KNOWN_MAX_MS ? ms : GR_WELL_KNOWN_MAX_MS;
}

static void on_failure(entry *e, uint64_t now_ms, int status)
{
    uint64_t wait_ms = GR_WELL_KNOWN_ERROR_MIN_MS;
    for (unsigned i = 0; i < e->failures && wait_ms < GR_WELL_KNOWN_ERROR_MAX_MS; i++) wait_ms *= 2;
    e->failures++;
    bool is_gone = status >= 400 && status < 500;      /* it says that there is none, which is no failure in passing */
    if (is_gone) wait_ms = GR_WELL_KNOWN_ERROR_MAX_MS;
    if (is_gone || e->said_ms + GR_WELL_KNOWN_MAX_MS <= now_ms) e->delegate_size = 0;
    e->until_ms = now_ms + (wait_ms < GR_WELL_KNOWN_ERROR_MAX_MS ? wait_ms : GR_WELL_KNOWN_ERROR_MAX_MS);
}

void gr_well_known_told(gr_lru *w, gr_str host, uint64_t now_ms, int status, gr_str body, gr_str cache_control,
                        gr_str expires)
{
    gr_arena *arena = gr_arena_new(0);
    gr_str delegate;
    entry *e = gr_lru_find(w, host);
    if (!e) e = gr_lru_add(w, host, 0);
    if (status == 200 && gr_well_known_parse(arena, body, &delegate)) {
        e->delegate_size = delegate.size;
        memcpy(e->delegate, delegate.ptr, delegate.size);
        e->said_ms = now_ms;
        e->failures = 0;
        e->until_ms = now_ms + gr_well_known_lifetime(cache_control, expires, now_ms);
    } else {
        on_failure(e, now_ms, status);
    }
    gr_arena_free(&arena);
}
