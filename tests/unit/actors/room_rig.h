/* room_rig.h - a room under test, and the messages one sends it in a line each. */
#pragma once
#include "tests/unit/actors/rig.h"

#include "actors/room/cache.h"
#include "actors/room/record.h"

typedef struct {
    const char *version, *request;
} room_options;

static inline gr_str room_create_event(gr_arena *a, const gr_signer *signer, const char *version,
                                       gr_str *room_id)
{
    const gr_room_version *v = gr_room_version_find(gr_str_c(version));
    gr_str creator = v->creator_in_content ? GR_STR(",\"creator\":\"@a:here\"") : (gr_str){0};
    gr_event_fields f = {.version = v,
                         .room_id = v->room_id_is_create_hash ? (gr_str){0} : GR_STR("!r:here"),
                         .sender = GR_STR("@a:here"),
                         .type = GR_STR("m.room.create"),
                         .has_state_key = true,
                         .content =
                             gr_arena_printf(a, "{\"room_version\":\"%s\"%.*s}", version, GR_ARG(creator)),
                         .depth = 1,
                         .origin_server_ts = 1699999999000};
    if (v->event_id == GR_EVENT_ID_CHOSEN) f.event_id = GR_STR("$create:here");
    gr_event_built built;
    assert_false(gr_failed(gr_event_build(a, &f, signer, &built)));
    *room_id = built.room_id;
    return built.text;
}

/* A room of @a:here; what creating it left can be looked at. */
static inline rig *room_new(room_options o)
{
    static const unsigned char seed[GR_SIGN_SEED] = {1};
    gr_arena *a = gr_arena_new(0);
    gr_signer signer;
    gr_str id;
    assert_false(gr_failed(gr_signer_from_seed(GR_STR("here"), GR_STR("a_1"), seed, &signer)));
    gr_str text = room_create_event(a, &signer, o.version, &id);
    rig *r = rig_new(&gr_room_kind, gr_arena_printf(a, "room/%.*s", GR_ARG(id)).ptr);
    gr_room_create m = {.user = GR_STR("@a:here"),
                        .version = gr_str_c(o.version),
                        .create_event = text,
                        .request = gr_str_c(o.request),
                        .displayname = GR_STR("Ann"),
                        .key = GR_STR("k1")};
    rig_ask(r, &gr_type_room_create, &m);
    gr_arena_free(&a);
    return r;
}

static inline gr_room *room_of(rig *r) { return r->self; }

/* An event as sent: "state" when state_key is not NULL.  The event id, empty when it was refused. */
static inline gr_str room_send(rig *r, const char *user, const char *type, const char *state_key,
                               const char *content, const char *txn)
{
    gr_room_send m = {.user = gr_str_c(user),
                      .device = GR_STR("D"),
                      .txn = gr_str_c(txn),
                      .type = gr_str_c(type),
                      .is_state = state_key != NULL,
                      .state_key = gr_str_c(state_key),
                      .content = gr_str_c(content)};
    rig_ask(r, &gr_type_room_send, &m);
    return r->reply_type == &gr_type_room_sent ? ((const gr_room_sent *)r->reply)->event_id : (gr_str){0};
}

static inline gr_err room_member(rig *r, const char *user, const char *action, const char *target)
{
    gr_room_member m = {.user = gr_str_c(user), .target = gr_str_c(target), .action = gr_str_c(action)};
    rig_ask(r, &gr_type_room_member, &m);
    return r->err;
}

static inline gr_membership room_membership(rig *r, const char *user)
{
    gr_ctx_begin(&r->ctx, r->address);
    return gr_room_membership(&r->ctx, gr_str_c(user));
}

/* A member of the content of a current state event, printed; empty when there is none. */
static inline gr_str room_state(rig *r, const char *type, const char *state_key, const char *member)
{
    gr_ctx_begin(&r->ctx, r->address);
    const gr_event *e = gr_room_state(r->self, &r->ctx, gr_str_c(type), gr_str_c(state_key));
    const gr_json *value = e ? gr_json_get(e->content, member) : NULL;
    return value ? gr_json_printed(r->arena, value) : (gr_str){0};
}

#define assert_text(got, want) \
    do { \
        gr_str got_ = (got); \
        if (!gr_str_is(got_, want)) fail_msg("got \"%.*s\", wanted \"%s\"", GR_ARG(got_), want); \
    } while (0)
#define assert_ok(r) \
    do { \
        if (gr_failed((r)->err)) fail_msg("refused: %s", (r)->err.text); \
    } while (0)
