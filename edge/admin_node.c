/* admin_node.c - the owner's requests for other nodes, over the bus: the admin port of one node asks that of the
 * other, and gets the answer in parts. See admin_inside.h.
 */
#include "edge/admin_inside.h"
#include "edge/log.h"

enum { PART = 256 * 1024 };

/* --- the node that is asked by its owner ---------------------------------------------------------------------- */
static gr_str port_of(gr_arena *a, gr_str node) { return gr_arena_printf(a, "edge/%" GR_FMT "/%d", GR_ARG(node), GR_ADMIN_PORT); }

gr_err gr_admin_forward(gr_admin *admin, gr_arena *a, gr_http_id id, gr_str name, gr_str path, gr_str body)
{
    const char *other = gr_node_other(admin->node, name);
    if (!other) return gr_failf(a, GR_NOT_FOUND, "the cluster has no node %" GR_FMT, GR_ARG(name));
    gr_str node = gr_str_c(other);
    gr_node_look look = {.path = path, .body = body};
    gr_err err = gr_admin_ask(admin, id, node, port_of(a, node), &gr_type_node_look, &look);
    return gr_failed(err) ? gr_admin_explain(admin, a, node, true, err) : err;
}

static gr_err ask_on(gr_admin *admin, gr_arena *a, gr_admin_waiting *w, uint64_t number)
{
    gr_node_look look = {.answer = number, .from = w->got.size};
    gr_err err = gr_port_ask(admin->port, port_of(a, w->node), &gr_type_node_look, &look, admin->now_ms,
                             GR_ADMIN_ASK_MS, false, w->trace, &w->seq);
    if (!gr_failed(err)) HASH_ADD(hh, admin->asks, seq, sizeof w->seq, w);
    return gr_failed(err) ? gr_admin_explain(admin, a, w->node, true, err) : err;
}

static bool fits(const gr_admin_waiting *w, const gr_node_part *part)
{
    if (part->size > GR_ADMIN_ANSWER_MAX || part->bytes.size > part->size - w->got.size) return false;
    return part->answer ? part->bytes.size > 0 : w->got.size + part->bytes.size == part->size;
}

bool gr_admin_part(gr_admin *admin, gr_arena *a, gr_admin_waiting *w, const gr_node_part *part)
{
    gr_err err = gr_ok();
    if (part->size < w->got.size || !fits(w, part)) err = gr_fail(GR_UNKNOWN, "that node's answer can't be read");
    else gr_buf_str(&w->got, part->bytes);
    if (!gr_failed(err) && part->answer) err = ask_on(admin, a, w, part->answer);
    if (gr_failed(err)) {
        gr_http_reply_error(admin->owner, w->id, 0, err);
        return true;
    }
    if (part->answer) return false;
    gr_admin_answer made = {(int)part->status, part->content_type, w->got};
    w->got = (gr_buf){0};
    gr_admin_reply(admin, w->id, &made);
    return true;
}

/* --- the node that answers ------------------------------------------------------------------------------------ */
static void drop(gr_admin_held *h)
{
    gr_buf_free(&h->answer.body);
    *h = (gr_admin_held){0};
}

void gr_admin_drop_held(gr_admin *admin, uint64_t unused_ms)
{
    for (int i = 0; i < GR_ADMIN_HELD_MAX; i++)
        if (admin->held[i].number && admin->now_ms - admin->held[i].used_ms >= unused_ms) drop(&admin->held[i]);
}

/* Takes the answer. When all places are taken the one goes that was longest unused: who fetches it asks anew. */
static gr_admin_held *hold(gr_admin *admin, gr_admin_answer *made)
{
    gr_admin_held *place = admin->held;
    for (int i = 0; i < GR_ADMIN_HELD_MAX; i++)
        if (admin->held[i].used_ms < place->used_ms) place = &admin->held[i];
    drop(place);
    *place = (gr_admin_held){.number = gr_port_trace(admin->port), .answer = *made};
    made->body = (gr_buf){0};
    return place;
}

static void send_part(gr_admin *admin, gr_str to, uint64_t seq, gr_admin_held *h, uint64_t from)
{
    const gr_admin_answer *made = &h->answer;
    gr_node_part part = {.status = (uint64_t)made->status, .content_type = made->content_type, .size = made->body.size};
    part.bytes = gr_str_head(gr_str_from(gr_buf_view(&made->body), from), PART);
    bool is_last = from + part.bytes.size == made->body.size;
    part.answer = is_last ? 0 : h->number;
    h->used_ms = admin->now_ms;
    gr_port_answer(admin->port, to, seq, &gr_type_node_part, &part);
    if (is_last) drop(h);
}

static gr_err look(gr_admin *admin, gr_arena *a, gr_str from, const gr_node_look *asked, gr_admin_answer *made)
{
    ptrdiff_t mark = gr_str_find(asked->path, '?');
    gr_admin_request r = {.method = asked->body.size ? GR_HTTP_POST : GR_HTTP_GET, .path = asked->path, .body = asked->body};
    if (mark >= 0) {
        r.path = gr_str_head(asked->path, (size_t)mark);
        gr_err err = gr_route_query_parse(a, gr_str_from(asked->path, (size_t)mark + 1), &r.query);
        if (gr_failed(err)) return err;
    }
    if (gr_str_is(r.path, "/backup")) return gr_fail(GR_FORBIDDEN, "a backup is made on the node itself");
    gr_log(GR_LOG_DEBUG, "admin", "%" GR_FMT " asks for %" GR_FMT, GR_ARG(from), GR_ARG(r.path));
    return gr_admin_look(admin, a, &r, made);
}

static gr_err begin_answer(gr_admin *admin, gr_arena *a, gr_str from, uint64_t seq, const gr_node_look *asked)
{
    gr_admin_answer made = {200, GR_ADMIN_JSON, {0}};
    gr_err err = look(admin, a, from, asked, &made);
    if (!gr_failed(err) && made.body.size > GR_ADMIN_ANSWER_MAX)
        err = gr_fail(GR_TOO_LARGE, "the answer is too large: ask for less");
    if (!gr_failed(err)) send_part(admin, from, seq, hold(admin, &made), 0);
    gr_buf_free(&made.body);
    return err;
}

static gr_err go_on(gr_admin *admin, gr_str from, uint64_t seq, const gr_node_look *asked)
{
    for (int i = 0; i < GR_ADMIN_HELD_MAX; i++) {
        gr_admin_held *h = &admin->held[i];
        if (h->number != asked->answer || asked->from > h->answer.body.size) continue;
        send_part(admin, from, seq, h, asked->from);
        return gr_ok();
    }
    return gr_fail(GR_NOT_FOUND, "the rest of the answer is no longer kept: ask again");
}

void gr_admin_asked(gr_admin *admin, gr_str from, uint64_t seq, const gr_node_look *asked)
{
    gr_arena *a = gr_arena_new(0);
    gr_err err = asked->answer ? go_on(admin, from, seq, asked) : begin_answer(admin, a, from, seq, asked);
    if (gr_failed(err))
        gr_port_answer(admin->port, from, seq, &gr_type_error,
                       &(gr_error){.code = err.code, .text = gr_str_c(err.text), .retry_after_ms = err.retry_after_ms});
    gr_arena_free(&a);
}
