/* request.c - requests to the server on behalf of users and flows. See destination.h. */
#include "actors/destination/destination_private.h"

#include "proto/xmatrix.h"

#include <stdlib.h>

enum { ERROR_TEXT_MAX = 512 };

/* --- sending ----------------------------------------------------------------------------------------------- */
void gr_request_send(gr_destination *d, const gr_destination_request *m, const gr_resume *step, gr_ctx *ctx)
{
    gr_arena *arena = gr_ctx_arena(ctx);
    gr_xmatrix_request signed_parts = {.method = m->method, .uri = m->uri};
    if (m->content.size && gr_failed(gr_json_parse(arena, m->content, GR_JSON_LAX, &signed_parts.content)))
        gr_assert(!"what is sent to other servers is JSON");
    uint64_t most = m->answer_max && m->answer_max < GR_DESTINATION_ANSWER_MAX ? m->answer_max : GR_DESTINATION_ANSWER_MAX;
    gr_fetch fetch = {.server = d->name, .method = m->method, .uri = m->uri, .content = m->content, .answer_max = most,
                      .timeout_ms = m->timeout_ms ? m->timeout_ms : GR_DESTINATION_TIMEOUT_MS,
                      .is_plain = m->is_plain};
    if (!m->is_plain) fetch.authorization = gr_xmatrix_header(arena, gr_env_of(ctx)->signer, d->name, &signed_parts);
    else if (m->token.size) fetch.authorization = gr_arena_cat(arena, 2, (gr_str[]){GR_STR("Bearer "), m->token});
    gr_ctx_fetch(ctx, &fetch, step);
}

static gr_err may_ask(const gr_destination *d, const gr_destination_request *m, gr_ctx *ctx)
{
    const gr_json *content = NULL;
    if (!gr_str_starts(m->uri, GR_STR("/")) || m->method.size == 0)
        return gr_fail(GR_INVALID_PARAM, "A request has a method and a path");
    if (m->content.size && gr_failed(gr_json_parse(gr_ctx_arena(ctx), m->content, GR_JSON_LAX, &content)))
        return gr_fail(GR_BAD_JSON, "The content of a request to another server is JSON");
    if (d->request_count >= GR_DESTINATION_REQUESTS_MAX) {
        gr_err err = gr_fail(GR_LIMIT_EXCEEDED, "Too many requests to that server: try again in a moment");
        err.retry_after_ms = 1000;
        return err;
    }
    if (gr_backoff_holds(&d->backoff, ctx))
        return gr_fail(GR_BAD_GATEWAY, "That server could not be reached; it is tried again later");
    return gr_ok();
}

void gr_request_on_ask(gr_destination *d, const gr_destination_request *m, gr_ctx *ctx)
{
    gr_err err = may_ask(d, m, ctx);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_destination_asked *asked = gr_alloc(sizeof *asked);
    *asked = (gr_destination_asked){.next = d->requests, .number = ++d->next_number};
    d->requests = asked;
    d->request_count++;
    gr_request_send(d, m, &(gr_resume){.step = GR_DESTINATION_STEP_REQUEST, .number = asked->number}, ctx);
    asked->asker = gr_ctx_keep_asker(ctx);
}

/* --- answers ----------------------------------------------------------------------------------------------- */
/* Codes that say something about the thing asked for.  Others, such as those about a token, would be read by our client as
 * if this server had said them. */
static gr_errcode passed_on(gr_str wire)
{
    static const gr_errcode codes[] = {
        GR_FORBIDDEN, GR_NOT_FOUND, GR_LIMIT_EXCEEDED, GR_UNRECOGNIZED, GR_INVALID_PARAM, GR_MISSING_PARAM, GR_BAD_JSON,
        GR_TOO_LARGE, GR_UNSUPPORTED_ROOM_VERSION, GR_INCOMPATIBLE_ROOM_VERSION, GR_BAD_STATE,
        GR_UNABLE_TO_AUTHORISE_JOIN, GR_UNABLE_TO_GRANT_JOIN, GR_INVITE_BLOCKED};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (gr_str_is(wire, gr_errcode_wire(codes[i]))) return codes[i];
    return GR_BAD_GATEWAY;
}

static gr_err refusal(gr_arena *arena, const gr_fetched *f)
{
    const gr_json *body = NULL;
    if (gr_failed(gr_json_parse(arena, f->body, GR_JSON_LAX, &body))) body = NULL;
    gr_errcode code = f->status < 500 ? passed_on(gr_json_text(body, "errcode")) : GR_BAD_GATEWAY;
    if (f->status == 429) code = GR_LIMIT_EXCEEDED;
    gr_str text = gr_json_text(body, "error");
    if (text.size == 0 || text.size > ERROR_TEXT_MAX)
        text = gr_arena_printf(arena, "The other server answered with status %llu", (unsigned long long)f->status);
    gr_err err = gr_failf(arena, code, "%" GR_FMT, GR_ARG(text));
    int64_t wait_ms = gr_json_integer(gr_json_get(body, "retry_after_ms"), (int64_t)f->retry_after_ms);
    if (code == GR_LIMIT_EXCEEDED) err.retry_after_ms = wait_ms > 0 ? (uint64_t)wait_ms : 1000;
    return err;
}

gr_err gr_destination_error(gr_arena *arena, const gr_fetched *f)
{
    switch ((gr_fetch_failure)f->failure) {
    case GR_FETCH_ANSWERED: break;
    case GR_FETCH_DENIED: return gr_failf(arena, GR_FORBIDDEN, "%" GR_FMT, GR_ARG(f->text));
    case GR_FETCH_TIMEOUT: return gr_fail(GR_TIMEOUT, "That server did not answer in time");
    case GR_FETCH_BUSY: return gr_fail(GR_UNAVAILABLE, "This server makes too many requests to others: try again in a moment");
    case GR_FETCH_OFFLINE:
    case GR_FETCH_UNREACHABLE:
    case GR_FETCH_BROKEN:
    case GR_FETCH_TOO_LARGE: return gr_failf(arena, GR_BAD_GATEWAY, "That server could not be asked: %" GR_FMT, GR_ARG(f->text));
    }
    return f->status == 200 ? gr_ok() : refusal(arena, f);
}

gr_err gr_request_error(gr_arena *arena, const gr_fetched *f)
{
    const gr_json *body = NULL;
    gr_err err = gr_destination_error(arena, f);
    if (gr_failed(err)) return err;
    bool good = !gr_failed(gr_json_parse(arena, f->body, GR_JSON_LAX, &body))
        && (gr_json_is(body, GR_JSON_OBJECT) || gr_json_is(body, GR_JSON_ARRAY));
    return good ? gr_ok() : gr_fail(GR_BAD_GATEWAY, "That server's answer is not JSON");
}

void gr_request_on_fetched(gr_destination *d, const gr_fetched *fetched, uint64_t number, gr_ctx *ctx)
{
    gr_destination_asked **at = &d->requests;
    while (*at && (*at)->number != number) at = &(*at)->next;
    gr_destination_asked *asked = *at;
    if (!asked) return;            /* of before it was loaded again */
    *at = asked->next;
    d->request_count--;
    gr_err err = gr_request_error(gr_ctx_arena(ctx), fetched);
    if (gr_failed(err)) gr_ctx_answer_fail(ctx, &asked->asker, err);
    else gr_ctx_answer(ctx, &asked->asker, &gr_type_result, &(gr_result){.body = fetched->body});
    free(asked);
}

void gr_request_drop(gr_destination *d)
{
    for (gr_destination_asked *asked = d->requests, *next; asked; asked = next) {
        next = asked->next;
        gr_asker_free(&asked->asker);
        free(asked);
    }
    d->requests = NULL;
}
