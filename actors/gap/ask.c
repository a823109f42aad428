/* ask.c - what the gap flow asks of the room and of other servers. See gap_private.h. */
#include "actors/gap/gap_private.h"

#include "proto/uri.h"
#include "proto/xmatrix.h"

enum { ASK_MS = 30 * 1000, REQUEST_MS = 20 * 1000, STATE_MS = 45 * 1000, HISTORY_REQUEST_MS = 6 * 1000 };

static gr_resume resume_of(const gap_flow *f, size_t number)
{
    return (gr_resume){.step = (uint32_t)f->now, .number = f->turn << 32 | number};
}

size_t gap_number_of(const gr_resume *resume) { return (size_t)(resume->number & UINT32_MAX); }

void gap_begin_step(gap_flow *f, gap_step now)
{
    f->now = now;
    f->turn++;
    f->open = 0;
}

void gap_ask_room(gap_flow *f, gr_ctx *ctx, const gr_type *type, const void *body)
{
    gr_resume resume = resume_of(f, 0);
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_ROOM, f->row->room_id), type, body, ASK_MS, &resume);
    f->open++;
}

/* --- other servers -------------------------------------------------------------------------------------------- */
static gr_str server_of(const gap_flow *f) { return f->servers.at[f->server]; }

bool gap_next_server(gap_flow *f)
{
    f->server = (f->server + 1) % f->servers.count;
    if (++f->refusals < f->servers.count) return true;
    f->refusals = 0;
    return false;
}

void gap_helped(gap_flow *f) { f->refusals = 0; }

/* Somebody waits for history. */
static uint64_t patience(const gap_flow *f, uint64_t ms) { return gap_is_history(f) ? HISTORY_REQUEST_MS : ms; }

void gap_ask_server(gap_flow *f, gr_ctx *ctx, const char *method, gr_str uri, gr_str content, size_t number)
{
    gr_resume resume = resume_of(f, number);
    uint64_t ms = patience(f, REQUEST_MS);
    gr_destination_request m = {.method = gr_str_c(method), .uri = uri, .content = content, .timeout_ms = ms};
    gr_ctx_ask(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_DESTINATION, server_of(f)), &gr_type_destination_request, &m,
               ms + 5000, &resume);
    f->open++;
}

void gap_fetch(gap_flow *f, gr_ctx *ctx, gr_str uri, uint64_t answer_max)
{
    gr_resume resume = resume_of(f, 0);
    gr_str server = server_of(f);
    gr_xmatrix_request parts = {.method = GR_STR("GET"), .uri = uri};
    gr_fetch m = {.server = server, .method = parts.method, .uri = uri, .timeout_ms = STATE_MS, .answer_max = answer_max,
                  .authorization = gr_xmatrix_header(gr_ctx_arena(ctx), gr_env_of(ctx)->signer, server, &parts)};
    gr_ctx_fetch(ctx, &m, &resume);
    f->open++;
}

gr_str gap_uri(const gap_flow *f, gr_ctx *ctx, const char *what, gr_str event_id)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_str room = gr_uri_encode(a, f->row->room_id), event = gr_uri_encode(a, event_id);
    if (strcmp(what, "event") == 0) return gr_arena_printf(a, "/_matrix/federation/v1/event/%" GR_FMT, GR_ARG(event));
    if (event_id.size == 0) return gr_arena_printf(a, "/_matrix/federation/v1/%s/%" GR_FMT, what, GR_ARG(room));
    return gr_arena_printf(a, "/_matrix/federation/v1/%s/%" GR_FMT "?event_id=%" GR_FMT, what, GR_ARG(room), GR_ARG(event));
}

/* --- what they answered ----------------------------------------------------------------------------------------- */
const gr_json *gap_answered(gr_ctx *ctx, const gr_msg *m)
{
    const gr_json *body = NULL;
    if (gr_failed(m->err) || m->type != &gr_type_result) return NULL;
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), ((const gr_result *)m->body)->body, GR_JSON_LAX, &body);
    return gr_failed(err) ? NULL : body;
}

const gr_json *gap_fetched(gr_ctx *ctx, const gr_msg *m)
{
    const gr_fetched *got = m->body;
    const gr_json *body = NULL;
    if (gr_failed(m->err) || got->failure != GR_FETCH_ANSWERED || got->status != 200) return NULL;
    return gr_failed(gr_json_parse(gr_ctx_arena(ctx), got->body, GR_JSON_LAX, &body)) ? NULL : body;
}
