/* stateres.c - the steps of versions 2 and 2.1, and the tables behind all versions. See stateres.h. */
#include "proto/stateres_inside.h"

/* --- events met --- */
static uint64_t mix(uint64_t n) { return (n ^ n >> 29) * 0x9e3779b97f4a7c15u; }

static size_t slot_of(const res_run *r, uint64_t number)
{
    size_t i = mix(number) & (r->table_room - 1);
    while (r->table[i] && r->table[i]->number != number) i = (i + 1) & (r->table_room - 1);
    return i;
}

static void grow_table(res_run *r)
{
    res_node **old = r->table;
    size_t old_room = r->table_room;
    r->table_room = old_room ? old_room * 2 : 256;
    r->table = gr_arena_alloc(r->arena, r->table_room * sizeof(res_node *));
    for (size_t i = 0; i < old_room; i++)
        if (old[i]) r->table[slot_of(r, old[i]->number)] = old[i];
}

res_node *gr_res_node(res_run *r, uint64_t number)
{
    if (r->table_count * 2 >= r->table_room) grow_table(r);
    size_t i = slot_of(r, number);
    if (!r->table[i]) {
        r->table[i] = gr_arena_alloc(r->arena, sizeof(res_node));
        r->table[i]->number = number;
        r->table_count++;
    }
    return r->table[i];
}

void gr_res_push(res_run *r, res_nodes *list, res_node *node)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 8;
        res_node **at = gr_arena_alloc(r->arena, room * sizeof(res_node *));
        if (list->count) memcpy(at, list->at, list->count * sizeof(res_node *));
        list->at = at;
        list->room = room;
    }
    list->at[list->count++] = node;
}

static bool holds(const res_nodes *list, const res_node *node)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i] == node) return true;
    return false;
}

bool gr_res_load(res_run *r, res_node *n)
{
    gr_stateres_event e = {0};
    if (n->loaded) return n->known;
    if (r->over || r->reads >= r->in->reads_max) {
        r->over = true;
        return false;
    }
    r->reads++;
    n->loaded = true;
    n->known = r->source->event(r->source->arg, n->number, &e);
    if (!n->known) return false;
    n->event = e.event;
    n->rejected = e.rejected;
    for (size_t i = 0; i < e.auth.count && i < GR_STATERES_AUTH_MAX; i++) {
        if (e.auth.at[i] == 0 || e.auth.at[i] == n->number) continue;
        res_node *a = gr_res_node(r, e.auth.at[i]);
        if (a->number > n->number) r->ordered = false;
        if (!holds(&n->auth, a)) gr_res_push(r, &n->auth, a);
    }
    return true;
}

static bool is(const gr_event *e, gr_str type, gr_str state_key)
{
    return e->has_state_key && gr_str_eq(e->type, type) && gr_str_eq(e->state_key, state_key);
}

res_node *gr_res_auth_of(res_run *r, res_node *n, const char *type)
{
    if (!gr_res_load(r, n)) return NULL;
    for (size_t i = 0; i < n->auth.count; i++)
        if (gr_res_load(r, n->auth.at[i]) && gr_event_is(n->auth.at[i]->event, type, ""))
            return n->auth.at[i];
    return NULL;
}

/* --- heap --- */
void gr_res_heap_push(res_run *r, res_nodes *heap, res_node *node, res_compare *compare)
{
    gr_res_push(r, heap, node);
    for (size_t i = heap->count - 1; i > 0 && compare(heap->at[i], heap->at[(i - 1) / 2]) < 0;
         i = (i - 1) / 2) {
        res_node *up = heap->at[(i - 1) / 2];
        heap->at[(i - 1) / 2] = heap->at[i];
        heap->at[i] = up;
    }
}

res_node *gr_res_heap_pop(res_nodes *heap, res_compare *compare)
{
    res_node *top = heap->at[0];
    heap->at[0] = heap->at[--heap->count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < heap->count; child++)
            if (compare(heap->at[child], heap->at[least]) < 0) least = child;
        if (least == i) return top;
        res_node *down = heap->at[i];
        heap->at[i] = heap->at[least];
        heap->at[least] = down;
        i = least;
    }
}

/* --- the state that is built --- */
static uint64_t hash_of(gr_str type, gr_str state_key)
{
    return mix(gr_str_hash(type) * 31 + gr_str_hash(state_key));
}

static res_slot *find_slot(const res_state *s, uint64_t hash, gr_str type, gr_str state_key)
{
    size_t i = hash & (s->room - 1);
    while (s->slots[i].node && !(s->slots[i].hash == hash && is(s->slots[i].node->event, type, state_key)))
        i = (i + 1) & (s->room - 1);
    return &s->slots[i];
}

res_node *gr_res_state_get(const res_state *s, gr_str type, gr_str state_key)
{
    return s->room ? find_slot(s, hash_of(type, state_key), type, state_key)->node : NULL;
}

static void grow_state(res_run *r)
{
    res_state old = r->state;
    r->state.room = old.room ? old.room * 2 : 64;
    r->state.slots = gr_arena_alloc(r->arena, r->state.room * sizeof(res_slot));
    for (size_t i = 0; i < old.room; i++) {
        const gr_event *e = old.slots[i].node ? old.slots[i].node->event : NULL;
        if (e) *find_slot(&r->state, old.slots[i].hash, e->type, e->state_key) = old.slots[i];
    }
}

void gr_res_state_set(res_run *r, res_node *n)
{
    if (r->state.count * 2 >= r->state.room) grow_state(r);
    uint64_t hash = hash_of(n->event->type, n->event->state_key);
    res_slot *s = find_slot(&r->state, hash, n->event->type, n->event->state_key);
    if (!s->node) r->state.count++;
    *s = (res_slot){hash, n};
}

/* --- iterative auth checks --- */
typedef struct {
    res_run *run;
    res_node *node;
} auth_case;

static const gr_event *unconflicted(res_run *r, gr_str type, gr_str state_key)
{
    uint64_t number = r->source->unconflicted(r->source->arg, type, state_key);
    res_node *n = number ? gr_res_node(r, number) : NULL;
    return n && gr_res_load(r, n) ? n->event : NULL;
}

/* The state so far; what it lacks, from the event's own auth events.  Rooms whose create event is in no
 * auth_events have it all the same: their id names it. */
static const gr_event *auth_get(void *arg, gr_str type, gr_str state_key)
{
    auth_case *c = arg;
    res_run *r = c->run;
    res_node *found = gr_res_state_get(&r->state, type, state_key);
    if (found) return found->event;
    bool from_unconflicted = r->in->version->state_res == GR_STATE_RES_2;
    const gr_event *e = from_unconflicted ? unconflicted(r, type, state_key) : NULL;
    if (e) return e;
    for (size_t i = 0; i < c->node->auth.count; i++) {
        res_node *a = c->node->auth.at[i];
        if (gr_res_load(r, a) && !a->rejected && is(a->event, type, state_key)) return a->event;
    }
    bool create = gr_str_is(type, "m.room.create") && state_key.size == 0;
    return create && !r->in->version->create_in_auth_events && gr_res_load(r, r->create) ? r->create->event
                                                                                         : NULL;
}

static void iterate(res_run *r, const res_nodes *list)
{
    for (size_t i = 0; i < list->count && !r->over; i++) {
        auth_case c = {r, list->at[i]};
        gr_auth_state state = {auth_get, &c};
        bool allowed = !gr_failed(gr_auth_check(r->scratch, list->at[i]->event, &state));
        gr_arena_reset(r->scratch);
        if (allowed) gr_res_state_set(r, list->at[i]);
    }
}

static res_node *resolved_levels(res_run *r)
{
    gr_str type = GR_STR("m.room.power_levels");
    res_node *n = gr_res_state_get(&r->state, type, GR_STR(""));
    if (n || r->in->version->state_res != GR_STATE_RES_2) return n;
    uint64_t number = r->source->unconflicted(r->source->arg, type, GR_STR(""));
    return number ? gr_res_node(r, number) : NULL;
}

static void resolve_v2(res_run *r)
{
    gr_res_find_full(r);
    if (r->over || r->full.count > r->in->conflicted_max) return;
    res_nodes first = gr_res_power_order(r);
    iterate(r, &first);
    res_nodes rest = gr_res_mainline_order(r, resolved_levels(r));
    iterate(r, &rest);
}

/* --- in and out --- */
/* Rows name the same few events again and again; each is one node. */
static void read_rows(res_run *r)
{
    size_t cells = r->in->row_count * r->in->states;
    for (size_t i = 0; i < cells && !r->over; i++) {
        res_node *n = r->in->rows[i] ? gr_res_node(r, r->in->rows[i]) : NULL;
        if (!n || n->conflicted || !gr_res_load(r, n) || !n->event->has_state_key) continue;
        n->conflicted = true;
        gr_res_push(r, &r->conflicted, n);
        r->over = r->conflicted.count > r->in->conflicted_max;
    }
}

static void give(res_run *r, gr_stateres_result *out)
{
    out->at = gr_arena_alloc(r->arena, (r->state.count + 1) * sizeof *out->at);
    for (size_t i = 0; i < r->state.room; i++) {
        res_node *n = r->state.slots[i].node;
        if (!n || r->source->unconflicted(r->source->arg, n->event->type, n->event->state_key)) continue;
        out->at[out->count++] = (gr_stateres_entry){n->event->type, n->event->state_key, n->number};
    }
}

gr_err gr_stateres_resolve(gr_arena *arena, const gr_stateres_input *in, const gr_stateres_source *source,
                           gr_stateres_result *out)
{
    gr_assert(in->states <= GR_STATERES_STATES_MAX);
    *out = (gr_stateres_result){0};
    res_run r = {.arena = arena, .in = in, .source = source, .ordered = source->ordered};
    r.scratch = gr_arena_new(0);
    r.create = gr_res_node(&r, in->create);
    read_rows(&r);
    if (in->version->state_res == GR_STATE_RES_1) gr_res_resolve_v1(&r);
    else if (!r.over) resolve_v2(&r);
    size_t conflicted = r.full.count ? r.full.count : r.conflicted.count;
    if (!r.over && conflicted <= in->conflicted_max) give(&r, out);
    out->conflicted = conflicted;
    out->reads = r.reads;
    gr_arena_free(&r.scratch);
    if (!r.over && conflicted <= in->conflicted_max) return gr_ok();
    *out = (gr_stateres_result){0};
    return gr_fail(GR_UNAVAILABLE, "The room's branches disagree about more state than this server "
                                   "resolves at once; try again when they have come closer");
}
