/* trace.c - finding traces in a message log and picking their messages out of it. See trace.h. */
#include "bus/trace.h"
#include "bus/segment_writer.h"
#include "bus/trace_inside.h"

/* --- what matches --- */
bool gr_trace_id_read(gr_str s, uint64_t *out)
{
    *out = 0;
    if (s.size == 0 || s.size > 16) return false;
    for (size_t i = 0; i < s.size; i++) {
        char c = s.ptr[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false;
        *out = *out << 4 | (uint64_t)digit;
    }
    return true;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Transaction ids are logged with their endpoint before them ("send/17"). */
static bool tag_matches(gr_str tag, gr_str id)
{
    if (!gr_str_ends(tag, id)) return false;
    return tag.size == id.size || !is_alphanumeric(tag.ptr[tag.size - id.size - 1]);
}

/* The room itself, and flows below it. */
static bool is_of_room(gr_str address, gr_str room)
{
    gr_str id = gr_address_id(address);
    return gr_str_starts(id, room) && (id.size == room.size || id.ptr[room.size] == '/');
}

static bool is_within(const gr_trace_query *q, const gr_log_record *r, uint64_t slack_us)
{
    return !(q->from_us && r->queued_us + slack_us < q->from_us) && !(q->to_us && r->queued_us > q->to_us + slack_us);
}

static bool is_of_actor_and_type(const gr_trace_query *q, const gr_log_record *r)
{
    const gr_type *type = gr_type_find(r->type);
    if (q->type.size && !(type && gr_str_is(q->type, type->name))) return false;
    return gr_str_starts(r->to, q->actor);
}

bool trace_row_passes(const gr_trace_query *q, const gr_log_record *r)
{
    return is_within(q, r, 0) && is_of_actor_and_type(q, r);
}

/* --- finding --- */
typedef struct {
    const gr_trace_query *query;
    gr_trace_set *set;
    bool is_hex;
    uint64_t hex;
    gr_str room; /* the id, when it is a room's */
} search;

static bool is_meant(const search *s, const gr_logged *l)
{
    const gr_log_record *r = &l->record;
    gr_str id = s->query->id;
    if (id.size == 0) return is_of_actor_and_type(s->query, r);
    if (s->room.size) return is_of_room(r->from, s->room) || is_of_room(r->to, s->room);
    return (s->is_hex && r->trace == s->hex) || tag_matches(l->tag, id) || gr_str_eq(r->to, id)
           || gr_str_eq(r->from, id);
}

static bool look_at(void *arg, const gr_logged *l)
{
    search *s = arg;
    /* The clock of this node may differ from that of who asks, who looks again when it has been corrected. */
    if (is_within(s->query, &l->record, GR_TRACE_CLOCKS_US) && is_meant(s, l))
        gr_trace_set_add(s->set, (gr_trace_found){l->record.trace, l->record.queued_us});
    return true;
}

gr_err gr_trace_find(const char *dir, const gr_trace_query *query, const gr_log_place *from, gr_arena *a,
                     gr_trace_set *set, gr_log_place *end)
{
    search s = {.query = query, .set = set};
    s.is_hex = gr_trace_id_read(query->id, &s.hex);
    if (gr_str_starts(query->id, GR_STR("!"))) s.room = query->id;
    return gr_message_log_read(dir, a, from, NULL, &(gr_log_reader){.message = look_at, .arg = &s}, end);
}

/* --- picking --- */
/* The newest measurement of each other node's clock is written before the next message that is picked. */
typedef struct {
    gr_log_clock clock;
    char peer[GR_MESSAGE_LOG_NODE_MAX];
    bool is_new;
} measured;

typedef struct {
    const gr_trace_set *set;
    bool bodies, has_begun, is_cut;
    size_t count;
    gr_segment_writer writer;
    measured *clocks;
    size_t clock_count;
} picking;

static void note_clock(void *arg, gr_str node, const gr_log_clock *clock)
{
    picking *p = arg;
    size_t i = 0;
    (void)node;
    if (clock->peer.size > GR_MESSAGE_LOG_NODE_MAX) return;
    while (i < p->clock_count && !gr_str_eq(p->clocks[i].clock.peer, clock->peer)) i++;
    if (i == GR_CLUSTER_NODES_MAX) return;
    if (i == p->clock_count) p->clock_count++;
    measured *m = &p->clocks[i];
    memmove(m->peer, clock->peer.ptr, clock->peer.size);
    m->clock = *clock;
    m->clock.peer = gr_str_of(m->peer, clock->peer.size);
    m->is_new = true;
}

static void put_clocks(picking *p)
{
    for (size_t i = 0; i < p->clock_count; i++) {
        if (p->clocks[i].is_new) gr_segment_put_clock(&p->writer, &p->clocks[i].clock);
        p->clocks[i].is_new = false;
    }
}

static void begin(picking *p, gr_str node)
{
    if (!p->has_begun) gr_segment_begin(&p->writer, node);
    p->has_begun = true;
}

static bool pick(void *arg, const gr_logged *l)
{
    picking *p = arg;
    if (!gr_trace_set_has(p->set, l->record.trace)) return true;
    p->is_cut = p->count == GR_TRACE_MESSAGES_MAX || p->writer.size > GR_TRACE_PICKED_MAX;
    if (p->is_cut) return false;
    begin(p, l->node);
    put_clocks(p);
    gr_log_record record = l->record;
    if (!p->bodies) record.body = (gr_str){0};
    if (l->dropped) gr_segment_put_dropped(&p->writer, l->dropped);
    gr_segment_put_message(&p->writer, &record, l->tag);
    p->count++;
    return true;
}

gr_err gr_trace_pick(const char *dir, const gr_trace_set *set, bool bodies, const gr_log_place *from,
                     const gr_log_place *to, gr_arena *a, gr_buf *out, bool *is_cut)
{
    picking p = {.set = set, .bodies = bodies};
    gr_segment_writer_init(&p.writer);
    p.clocks = gr_arena_alloc(a, GR_CLUSTER_NODES_MAX * sizeof *p.clocks);
    gr_err err =
        gr_message_log_read(dir, a, from, to, &(gr_log_reader){.message = pick, .clock = note_clock, .arg = &p}, NULL);
    if (p.has_begun) put_clocks(&p);
    gr_buf_str(out, gr_buf_view(&p.writer.out));
    *is_cut = p.is_cut;
    gr_segment_writer_free(&p.writer);
    return err;
}
