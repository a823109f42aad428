/* chain.c - rows of the chain cover, and how an event gets its place. See chain.h.
 *
 * A row c: format and flags (1), then varints.  In a chain: event - chain, sequence, event - before, since.
 * Always: count of links, event - link each.  Some ten bytes for a typical event.
 */
#include "actors/room/chain_inside.h"

#include <stdlib.h>

enum { FORMAT = 0x10, FORMAT_MASK = 0xf0, CONTINUES = 1, FULL = 2, FULL_EVERY = 8, FULL_SHARE = 4 };

/* --- bytes --------------------------------------------------------------------------------------------- */
static void write_row(const gr_chain *c, const chain_row *r)
{
    gr_buf out = {0};
    gr_buf_char(&out, (char)(FORMAT | (r->before ? CONTINUES : 0) | (r->full ? FULL : 0)));
    if (r->before) {
        gr_buf_varint(&out, r->event - r->chain);
        gr_buf_varint(&out, r->seq);
        gr_buf_varint(&out, r->event - r->before);
        gr_buf_varint(&out, r->since);
    }
    gr_buf_varint(&out, r->links.count);
    for (size_t i = 0; i < r->links.count; i++) gr_buf_varint(&out, r->event - r->links.at[i]);
    c->put(c->arg, 'c', r->event, gr_buf_view(&out));
    gr_buf_free(&out);
}

/* An older event, told by its distance. */
static bool read_older(gr_str *rest, uint64_t event, uint64_t *older)
{
    uint64_t distance;
    if (!gr_str_varint(rest, &distance) || distance == 0 || distance >= event) return false;
    *older = event - distance;
    return true;
}

static bool read_row(gr_arena *a, gr_str bytes, chain_row *r)
{
    uint64_t count;
    if (bytes.size < 2 || (bytes.ptr[0] & FORMAT_MASK) != FORMAT) return false;
    gr_str rest = gr_str_from(bytes, 1);
    r->full = bytes.ptr[0] & FULL;
    r->chain = r->event;
    r->seq = 1;
    if ((bytes.ptr[0] & CONTINUES)
        && !(read_older(&rest, r->event, &r->chain) && gr_str_varint(&rest, &r->seq) && r->seq > 1
             && read_older(&rest, r->event, &r->before) && gr_str_varint(&rest, &r->since)))
        return false;
    if (!gr_str_varint(&rest, &count) || count > rest.size) return false;
    r->links = (gr_u64s){gr_arena_alloc(a, (count + 1) * sizeof(uint64_t)), count};
    for (size_t i = 0; i < count; i++)
        if (!read_older(&rest, r->event, &r->links.at[i])) return false;
    return rest.size == 0;
}

/* --- rows read in one call ----------------------------------------------------------------------------- */
static size_t slot_of(const chain_reader *r, uint64_t event)
{
    size_t i = (size_t)((event ^ event >> 29) * 0x9e3779b97f4a7c15u >> 20) & (r->room - 1);
    while (r->table[i] && r->table[i]->event != event) i = (i + 1) & (r->room - 1);
    return i;
}

static void grow(chain_reader *r)
{
    chain_row **old = r->table;
    size_t old_room = r->room;
    r->room = old_room ? old_room * 2 : 64;
    r->table = gr_arena_alloc(r->arena, r->room * sizeof(chain_row *));
    for (size_t i = 0; i < old_room; i++)
        if (old[i]) r->table[slot_of(r, old[i]->event)] = old[i];
}

static chain_row *keep_row(chain_reader *r, size_t slot, uint64_t event, gr_str bytes)
{
    chain_row *row = gr_arena_alloc(r->arena, sizeof *row);
    row->event = event;
    if (!read_row(r->arena, bytes, row)) return NULL;
    r->count++;
    return r->table[slot] = row;
}

chain_row *gr_chain_row(chain_reader *r, uint64_t event)
{
    gr_str bytes;
    if (event == 0) return NULL;
    if (r->count * 2 >= r->room) grow(r);
    size_t i = slot_of(r, event);
    if (r->table[i]) return r->table[i];
    return r->c->get(r->c->arg, 'c', event, &bytes) ? keep_row(r, i, event, bytes) : NULL;
}

static void on_row(void *arg, uint64_t event, gr_str bytes)
{
    chain_reader *r = arg;
    if (r->count * 2 >= r->room) grow(r);
    size_t i = slot_of(r, event);
    if (!r->table[i]) keep_row(r, i, event, bytes);
}

void gr_chain_prefetch(chain_reader *r, uint64_t first, uint64_t last)
{
    if (r->c->scan) r->c->scan(r->c->arg, first, last, on_row, r);
}

void gr_chain_push(gr_arena *a, chain_list *list, uint64_t n)
{
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 16;
        uint64_t *at = gr_arena_alloc(a, list->room * sizeof *at);
        if (list->count) memcpy(at, list->at, list->count * sizeof *at);
        list->at = at;
    }
    list->at[list->count++] = n;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void gr_chain_sort(chain_list *list)
{
    if (list->count) qsort(list->at, list->count, sizeof *list->at, ascending);
}

/* --- a place for an event ------------------------------------------------------------------------------ */
/* Links by chain: of each chain the newest event.  False: an event has no cover. */
static bool add_link(chain_reader *r, chain_list *links, uint64_t event)
{
    const chain_row *new = gr_chain_row(r, event);
    if (!new) return false;
    for (size_t i = 0; i < links->count; i++) {
        const chain_row *old = gr_chain_row(r, links->at[i]);
        if (old->chain != new->chain) continue;
        if (old->seq < new->seq) links->at[i] = event;
        return true;
    }
    gr_chain_push(r->arena, links, event);
    return true;
}

static bool implies(chain_reader *r, const chain_list *links, const chain_row *a)
{
    for (size_t i = 0; i < links->count; i++) {
        const chain_row *l = gr_chain_row(r, links->at[i]);
        if (l && l->chain == a->chain && l->seq >= a->seq) return true;
    }
    return false;
}

/* All links of the chain up to this event. */
static bool links_up_to(chain_reader *r, const chain_row *last, chain_list *links)
{
    for (const chain_row *row = last; row; row = gr_chain_row(r, row->before)) {
        for (size_t i = 0; i < row->links.count; i++)
            if (!add_link(r, links, row->links.at[i])) return false;
        if (row->full || !row->before) return true;
    }
    return false;
}

/* One event of the set that cites another makes the link to the other needless. */
static bool is_cited(chain_reader *r, const chain_list *auth, uint64_t event)
{
    for (size_t i = 0; i < auth->count; i++) {
        const chain_row *a = gr_chain_row(r, auth->at[i]);
        for (size_t k = 0; k < a->links.count; k++)
            if (a->links.at[k] == event) return true;
    }
    return false;
}

/* The auth events, the newest of each chain.  False: not all are covered. */
static bool read_auth(chain_reader *r, uint64_t event, gr_u64s auth, chain_list *out)
{
    if (auth.count > GR_CHAIN_AUTH_MAX) return false;
    for (size_t i = 0; i < auth.count; i++)
        if (auth.at[i] >= event || !add_link(r, out, auth.at[i])) return false;
    return true;
}

static bool is_end(chain_reader *r, const chain_row *row)
{
    gr_str bytes;
    if (!r->c->get(r->c->arg, 'C', row->chain, &bytes)) return row->seq == 1;
    return bytes.size == 8 && gr_u64be(bytes.ptr) == row->event;
}

static void put_end(const gr_chain *c, uint64_t chain, uint64_t event)
{
    gr_buf out = {0};
    gr_buf_u64be(&out, event);
    c->put(c->arg, 'C', chain, gr_buf_view(&out));
    gr_buf_free(&out);
}

static const chain_row *predecessor(chain_reader *r, const chain_list *auth, uint64_t same)
{
    for (size_t i = 0; i < auth->count; i++)
        if (auth->at[i] == same && same) {
            const chain_row *row = gr_chain_row(r, same);
            return is_end(r, row) ? row : NULL;
        }
    return NULL;
}

/* Puts the row's links together; so_far: those of its chain before it. */
static bool choose_links(chain_reader *r, const chain_list *auth, chain_list *so_far, chain_row *row)
{
    chain_list links = {0};
    for (size_t i = 0; i < auth->count; i++) {
        const chain_row *a = gr_chain_row(r, auth->at[i]);
        bool needless =
            a->chain == row->chain || implies(r, so_far, a) || is_cited(r, auth, auth->at[i]);
        if (!needless) gr_chain_push(r->arena, &links, auth->at[i]);
    }
    row->full = row->since >= FULL_EVERY && row->since >= so_far->count / FULL_SHARE;
    for (size_t i = 0; row->full && i < links.count; i++)
        if (!add_link(r, so_far, links.at[i])) return false;
    if (row->full) row->since = 0;
    row->links = row->full ? (gr_u64s){so_far->at, so_far->count} : (gr_u64s){links.at, links.count};
    return true;
}

gr_chain_place gr_chain_assign(const gr_chain *c, gr_arena *arena, uint64_t event, gr_u64s auth,
                               uint64_t same)
{
    chain_reader r = {.c = c, .arena = arena};
    chain_list set = {0}, so_far = {0};
    chain_row row = {.event = event, .chain = event, .seq = 1};
    gr_assert(event > 0);
    const chain_row *known = gr_chain_row(&r, event);
    if (known) return (gr_chain_place){known->chain, known->seq};
    if (!read_auth(&r, event, auth, &set)) return (gr_chain_place){0};
    const chain_row *last = predecessor(&r, &set, same);
    if (last) {
        if (!links_up_to(&r, last, &so_far)) return (gr_chain_place){0};
        row.chain = last->chain;
        row.seq = last->seq + 1;
        row.before = last->event;
        row.since = last->since + 1;
    }
    if (!choose_links(&r, &set, &so_far, &row)) return (gr_chain_place){0};
    write_row(c, &row);
    if (last) put_end(c, row.chain, event);
    return (gr_chain_place){row.chain, row.seq};
}

gr_chain_place gr_chain_place_of(const gr_chain *c, gr_arena *arena, uint64_t event)
{
    chain_reader r = {.c = c, .arena = arena};
    const chain_row *row = gr_chain_row(&r, event);
    return row ? (gr_chain_place){row->chain, row->seq} : (gr_chain_place){0};
}
