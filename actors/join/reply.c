/* reply.c - the answer to send_join, taken apart as it comes. See join.h.
 *
 * It is one object, mostly two long lists of events.  A part is read as far as there are whole values; what is left is put
 * before the next.  Each event becomes a row under its id; that it is what it says it is is checked later.  A value that is
 * no event of this room is left out, and if too much of the state is lost by that the join fails where it has to.
 */
#include "actors/join/join_private.h"

#include <stdlib.h>

enum {
    VALUE_MAX = 1 << 20,                   /* one that is longer makes no sense; events have 64 KB */
    BAD_MAX = 10000,                       /* values that are no events of the room */
    WRITTEN_MAX = 160 * 1024               /* by one work: what is left is read by the next */
};

/* Where the reading is: before the object, before a member, before an item of a list, or behind the object. */
typedef enum { READ_START, READ_MEMBER, READ_STATE, READ_CHAIN, READ_END, READ_BROKEN } read_mode;

void gr_join_reply_forget(gr_join *j)
{
    gr_buf_free(&j->rest);
}

void gr_join_reply_begin(gr_join *j)
{
    gr_buf_clear(&j->rest);
    j->reading.mode = READ_START;
    j->reading.members_omitted = 0;
    j->staged = j->bad = 0;
    j->more = 0;
}

/* --- values in text that may end anywhere ------------------------------------------------------------------- */
static bool is_any_of(char c, const char *set) { return c && strchr(set, c); }

static size_t skip_blank(gr_str text, size_t at, bool commas)
{
    while (at < text.size && is_any_of(text.ptr[at], commas ? " \t\r\n," : " \t\r\n")) at++;
    return at;
}

/* The end of a string that begins here; 0: it is not in the text. */
static size_t string_end(gr_str text, size_t at)
{
    for (at++; at < text.size; at++) {
        if (text.ptr[at] == '\\') at++;
        else if (text.ptr[at] == '"') return at + 1;
    }
    return 0;
}

static size_t nested_end(gr_str text, size_t at)
{
    size_t depth = 0;
    while (at < text.size) {
        char c = text.ptr[at];
        if (c == '"') {
            at = string_end(text, at);
            if (!at) return 0;
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
        if (depth == 0) return at;
    }
    return 0;
}

/* The end of the value that begins here; 0: it is not in the text. */
static size_t value_end(gr_str text, size_t at)
{
    if (text.ptr[at] == '"') return string_end(text, at);
    if (text.ptr[at] == '{' || text.ptr[at] == '[') return nested_end(text, at);
    while (at < text.size && !is_any_of(text.ptr[at], ",]} \t\r\n")) at++;
    return at < text.size ? at : 0;
}

/* --- on the pool ------------------------------------------------------------------------------------------------ */
typedef struct {
    gr_arena *arena;
    gr_ctx *ctx;
    const gr_room_version *version;
    gr_str room_id, own_id, signatures;    /* signatures: of the join, as it was given back */
    uint64_t mode, members_omitted, staged, bad;
    bool is_here;                          /* the room is: nothing but the signatures is of use */
} reader;

static void put_signers(reader *r, const gr_event *e)
{
    const gr_json *signatures = gr_json_get(e->json, "signatures");
    gr_strs signers = gr_event_signers(r->arena, e);
    for (size_t i = 0; i < signers.count; i++) {
        const gr_json *by = gr_json_get_str(signatures, signers.at[i]);
        for (uint32_t k = 0; gr_json_is(by, GR_JSON_OBJECT) && k < by->count && k < 4; k++)
            if (signers.at[i].size + by->members[k].key.size < 512 && gr_str_find(signers.at[i], 0) < 0)
                gr_ctx_put(r->ctx, gr_arena_cat(r->arena, 4, (gr_str[]){GR_STR("k"), signers.at[i], {"", 1}, by->members[k].key}),
                           (gr_str){0});
    }
}

static gr_str printed(reader *r, const gr_json *json)
{
    static const char *const left_out[] = {"unsigned", NULL};
    gr_buf out = {0};
    gr_json_print_without(&out, json, left_out);
    gr_str text = gr_arena_str(r->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static void take_event(reader *r, gr_str text, bool is_state)
{
    const gr_json *json = NULL;
    gr_event e;
    if (r->is_here) return;
    bool good = !gr_failed(gr_json_parse(r->arena, text, GR_JSON_LAX, &json))
        && !gr_failed(gr_event_from_json(r->arena, r->version, json, &e)) && gr_str_eq(e.room_id, r->room_id)
        && gr_str_find(e.event_id, 0) < 0;
    if (!good) {
        r->bad++;
        return;
    }
    gr_str id = e.event_id;
    r->staged++;
    gr_ctx_put(r->ctx, gr_arena_cat(r->arena, 2, (gr_str[]){GR_STR("e"), id}), printed(r, json));
    if (is_state) gr_ctx_put(r->ctx, gr_arena_cat(r->arena, 2, (gr_str[]){GR_STR("s"), id}), (gr_str){0});
    put_signers(r, &e);
}

/* The join comes back with the signature of the server that vouches for it.  Nothing else of it is taken: its id does not
 * say what all of its content was. */
static void take_own(reader *r, gr_str text)
{
    const gr_json *json = NULL;
    gr_event e;
    if (gr_failed(gr_json_parse(r->arena, text, GR_JSON_LAX, &json))) return;
    if (gr_failed(gr_event_from_json(r->arena, r->version, json, &e)) || !gr_str_eq(e.event_id, r->own_id)) return;
    r->signatures = gr_json_printed(r->arena, gr_json_get(json, "signatures"));
    put_signers(r, &e);
}

/* A member of the object: a list is begun, other values are taken or skipped.  0: it is not all there. */
static size_t read_member(reader *r, gr_str text, size_t at)
{
    size_t key_end = text.ptr[at] == '"' ? string_end(text, at) : 0;
    size_t colon = key_end ? skip_blank(text, key_end, false) : 0, value = colon ? skip_blank(text, colon + 1, false) : 0;
    if (text.ptr[at] != '"' || (colon && colon < text.size && text.ptr[colon] != ':')) {
        r->mode = READ_BROKEN;
        return 0;
    }
    if (!value || value >= text.size) return 0;
    gr_str key = gr_str_of(text.ptr + at + 1, key_end - at - 2);
    bool is_state = gr_str_is(key, "state");
    if ((is_state || gr_str_is(key, "auth_chain")) && text.ptr[value] == '[') {
        r->mode = is_state ? READ_STATE : READ_CHAIN;
        return value + 1;
    }
    size_t end = value_end(text, value);
    if (!end) return 0;
    gr_str told = gr_str_of(text.ptr + value, end - value);
    if (gr_str_is(key, "event")) take_own(r, told);
    if (gr_str_is(key, "members_omitted")) r->members_omitted = gr_str_is(told, "true");
    return end;
}

/* One value; 0: it is not all there. */
static size_t read_value(reader *r, gr_str text, size_t at)
{
    char c = text.ptr[at];
    bool in_list = r->mode == READ_STATE || r->mode == READ_CHAIN;
    if (r->mode == READ_START) {
        r->mode = c == '{' ? READ_MEMBER : READ_BROKEN;
        return at + 1;
    }
    if (r->mode == READ_MEMBER && c != '}') return read_member(r, text, at);
    if (r->mode == READ_MEMBER || (in_list && c == ']')) {
        r->mode = in_list ? READ_MEMBER : READ_END;
        return at + 1;
    }
    if (!in_list || c == '}') {            /* something behind the object, or a bracket out of place */
        r->mode = READ_BROKEN;
        return 0;
    }
    size_t end = value_end(text, at);
    if (end) take_event(r, gr_str_of(text.ptr + at, end - at), r->mode == READ_STATE);
    return end;
}

/* Input: time, mode, members_omitted (8 each), is the room here (1), sizes of version, event id (2 each), these, the text.
 * Output: mode, members_omitted, staged, bad, bytes read, is there more to read, size of the join's signatures (8 each), these,
 * what is to be written. */
enum { INPUT_HEAD = 29, OUTPUT_HEAD = 56 };

static void put_two(gr_buf *out, size_t n)
{
    gr_buf_char(out, (char)(n >> 8));
    gr_buf_char(out, (char)n);
}

static size_t two(const char *p) { return (size_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]); }

void gr_join_reply_input(gr_buf *out, uint64_t now_ms, const gr_join_part *p)
{
    gr_buf_u64be(out, now_ms);
    gr_buf_u64be(out, p->mode);
    gr_buf_u64be(out, p->members_omitted);
    gr_buf_char(out, (char)p->is_here);
    put_two(out, p->version.size);
    put_two(out, p->event_id.size);
    gr_buf_str(out, p->version);
    gr_buf_str(out, p->event_id);
    gr_buf_str(out, p->text);
}

void gr_join_reply_output(gr_str output, gr_join_read *r)
{
    gr_assert(output.size >= OUTPUT_HEAD);
    size_t given = (size_t)gr_u64be(output.ptr + 48);
    *r = (gr_join_read){.mode = gr_u64be(output.ptr), .members_omitted = gr_u64be(output.ptr + 8),
                        .staged = gr_u64be(output.ptr + 16), .bad = gr_u64be(output.ptr + 24), .read = gr_u64be(output.ptr + 32),
                        .is_full = gr_u64be(output.ptr + 40), .signatures = gr_str_of(output.ptr + OUTPUT_HEAD, given),
                        .written = gr_str_from(output, OUTPUT_HEAD + given)};
}

static bool run(gr_arena *arena, gr_str input, gr_work_reader *work, gr_buf *output)
{
    gr_ctx *ctx = gr_work_ctx(work, gr_u64be(input.ptr));
    size_t version = two(input.ptr + 25), id = two(input.ptr + 27), at = 0, next;
    gr_str text = gr_str_from(input, INPUT_HEAD + version + id);
    reader r = {.arena = arena, .ctx = ctx, .room_id = gr_address_id(gr_ctx_self(ctx)), .mode = gr_u64be(input.ptr + 8),
                .members_omitted = gr_u64be(input.ptr + 16), .is_here = input.ptr[24],
                .own_id = gr_str_of(input.ptr + INPUT_HEAD + version, id),
                .version = gr_room_version_find(gr_str_of(input.ptr + INPUT_HEAD, version))};
    bool is_full = false;
    while (r.mode != READ_BROKEN && !(is_full = gr_work_written_size(work) > WRITTEN_MAX)) {
        at = skip_blank(text, at, r.mode != READ_START);
        if (at >= text.size) break;
        next = read_value(&r, text, at);
        if (!next) break;
        at = next;
    }
    const uint64_t numbers[] = {r.mode, r.members_omitted, r.staged, r.bad, at, is_full, r.signatures.size};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) gr_buf_u64be(output, numbers[i]);
    gr_buf_str(output, r.signatures);
    gr_work_written(work, output);
    return !gr_work_failed(work);
}

const gr_work gr_join_reply_work = {.name = "join_read", .run = run};

/* --- in the flow ------------------------------------------------------------------------------------------------ */
static void read_more(gr_join *j, gr_ctx *ctx)
{
    gr_buf input = {0};
    gr_join_part part = {.mode = j->reading.mode, .members_omitted = j->reading.members_omitted, .is_here = j->flow->is_here,
                         .version = j->flow->version, .event_id = j->flow->event_id, .text = gr_buf_view(&j->rest)};
    gr_join_reply_input(&input, gr_ctx_now_ms(ctx), &part);
    gr_join_work(j, ctx, &gr_join_reply_work, gr_buf_view(&input), 0);
    gr_buf_free(&input);
}

static gr_err refusal(gr_arena *arena, const gr_msg *m)
{
    if (gr_failed(m->err)) return m->err;
    return gr_destination_error(arena, m->body);
}

void gr_join_on_part(gr_join *j, const gr_msg *m, gr_ctx *ctx)
{
    const gr_fetched *fetched = m->body;
    gr_err err = refusal(gr_ctx_arena(ctx), m);
    if (gr_failed(err)) {
        gr_join_next_server(j, ctx, err);
        return;
    }
    j->more = fetched->more;
    gr_buf_str(&j->rest, fetched->body);
    read_more(j, ctx);
}

static void want_part(gr_join *j, gr_ctx *ctx)
{
    gr_fetch fetch = {.server = j->flow->servers.at[j->flow->next], .more = j->more, .part_max = GR_JOIN_PART,
                      .answer_max = GR_JOIN_ANSWER_MAX};
    gr_ctx_fetch(ctx, &fetch, &(gr_resume){.step = (uint32_t)j->flow->step, .number = j->epoch << 16});
    j->open++;
}

static gr_err sense(const gr_join *j, bool is_full)
{
    bool is_cut = !j->more && !is_full && j->reading.mode != READ_END;
    if (is_cut || j->reading.mode == READ_BROKEN || j->rest.size > VALUE_MAX || j->bad > BAD_MAX)
        return gr_fail(GR_BAD_GATEWAY, "The other server's answer to the join makes no sense");
    if (j->reading.members_omitted && !j->flow->is_here)
        return gr_fail(GR_BAD_GATEWAY, "The other server has left out members of the room, which nobody asked for");
    return gr_ok();
}

/* Its own signature nobody else can give. */
static void add_signatures(gr_join *j, gr_ctx *ctx, gr_str text)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *event = NULL, *given = NULL;
    if (gr_failed(gr_json_parse(a, j->flow->event, GR_JSON_LAX, &event))
        || gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &given)) || !gr_json_is(given, GR_JSON_OBJECT))
        return;
    gr_json_member *members = gr_arena_alloc(a, (given->count + 1) * sizeof *members);
    gr_json others = {.kind = GR_JSON_OBJECT, .members = members};
    for (uint32_t i = 0; i < given->count; i++)
        if (!gr_str_eq(given->members[i].key, gr_env_of(ctx)->server_name)) members[others.count++] = given->members[i];
    j->flow->event = gr_arena_str(j->arena, gr_event_add_signatures(a, event, &others));
}

static void cut_rest(gr_join *j, size_t read)
{
    gr_buf left = {0};
    gr_buf_str(&left, gr_str_from(gr_buf_view(&j->rest), read));
    gr_buf_free(&j->rest);
    j->rest = left;
}

void gr_join_on_read(gr_join *j, gr_str output, gr_ctx *ctx)
{
    gr_join_read read;
    gr_join_reply_output(output, &read);
    j->reading.mode = read.mode;
    j->reading.members_omitted = read.members_omitted;
    j->staged += read.staged;
    j->bad += read.bad;
    cut_rest(j, (size_t)read.read);
    gr_ctx_write_again(ctx, read.written);
    if (read.signatures.size) add_signatures(j, ctx, read.signatures);
    gr_err err = sense(j, read.is_full);
    if (gr_failed(err)) gr_join_next_server(j, ctx, err);
    else if (read.is_full) read_more(j, ctx);
    else if (j->more) want_part(j, ctx);
    else gr_join_go(j, ctx, GR_JOIN_KEYS);
}
