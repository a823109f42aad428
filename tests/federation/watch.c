/* watch.c - what transactions brought: a repeat is the same byte by byte, and no event that was acknowledged comes again the
 * same way, from the queue or when catching up. See fed.h.
 */
#include "tests/federation/fed.h"

#include "proto/json.h"

#include <stdlib.h>

/* A transaction (of which the hash of its text is kept), or an event that one way brought (and the transaction that did). */
struct fed_seen {
    UT_hash_handle hh;
    uint64_t key, value;
};

static const char send_path[] = "/_matrix/federation/v1/send/";

static uint64_t key_of(unsigned from, unsigned to, char way, gr_str name)
{
    return gr_str_hash(name) ^ (((uint64_t)from << 16 | (uint64_t)to << 8 | (unsigned char)way) * 0x9e3779b97f4a7c15u);
}

/* What was kept under that key before, or the new value. */
static uint64_t keep(fed *f, uint64_t key, uint64_t value)
{
    fed_seen *s = NULL;
    HASH_FIND(hh, f->seen, &key, sizeof key, s);
    if (s) return s->value;
    s = gr_alloc(sizeof *s);
    *s = (fed_seen){.key = key, .value = value};
    HASH_ADD(hh, f->seen, key, sizeof s->key, s);
    return value;
}

char fed_watch_way(gr_str uri)
{
    return gr_str_starts(uri, gr_str_c(send_path)) ? uri.ptr[gr_str_find(uri, '-') + 1] : 0;
}

void fed_watch_sent(fed *f, unsigned from, unsigned to, gr_str uri, gr_str content)
{
    if (!fed_watch_way(uri)) return;
    unsigned before = HASH_COUNT(f->seen);
    if (keep(f, key_of(from, to, 't', uri), gr_str_hash(content)) != gr_str_hash(content))
        fed_problem(f, "s%u sent s%u a transaction again, and it had changed", from, to);
    *(HASH_COUNT(f->seen) > before ? &f->n.transactions : &f->n.repeated) += 1;
}

void fed_watch_acknowledged(fed *f, unsigned from, unsigned to, gr_str uri, gr_str content)
{
    const gr_json *body = NULL;
    char way = fed_watch_way(uri);
    if (!way || gr_failed(gr_json_parse(f->turn, content, GR_JSON_LAX, &body))) return;
    const gr_json *pdus = gr_json_get(body, "pdus");
    for (uint32_t i = 0; pdus && i < pdus->count; i++) {
        gr_str hash = gr_json_string(gr_json_path(&pdus->items[i], "hashes/sha256"));
        if (keep(f, key_of(from, to, way, hash), gr_str_hash(uri)) != gr_str_hash(uri))
            fed_problem(f, "s%u sent s%u an event again that it had acknowledged", from, to);
        f->n.events++;
        f->n.caught_up += way == 'u';
    }
}

void fed_watch_free(fed *f)
{
    fed_seen *s, *next;
    HASH_ITER(hh, f->seen, s, next)
    {
        HASH_DEL(f->seen, s);
        free(s);
    }
}
