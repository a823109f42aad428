/* user_rig.h - a user actor under test: an account with devices, and what its answers look like. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/feed/feed.h"
#include "actors/user/keys.h"
#include "actors/user/sync_token.h"
#include "bus/stage.h"
#include "proto/base64.h"
#include "proto/sign.h"

static inline gr_stage *user_stage(void)
{
    static const gr_env env = {.server_name = {"here", 4}};
    static const gr_actor_kind *const kinds[] = {&gr_user_kind, &gr_feed_kind, NULL};
    gr_stage *s = gr_stage_new(kinds, "user/@a:here", &env);
    gr_stage_ask(s, &gr_type_user_create, &(gr_user_create){.key = GR_STR("k")});
    assert_non_null(gr_stage_replied(s, &gr_type_done));
    return s;
}

static inline void user_device(gr_stage *s, const char *device)
{
    gr_user_login m = {.device = gr_str_c(device), .display_name = GR_STR("Phone")};
    gr_stage_ask(s, &gr_type_user_login, &m);
    assert_int_equal(gr_stage_sent(s, GR_POST, &gr_type_token_issue), 1);
}

static inline void user_join(gr_stage *s, const char *room, bool encrypted)
{
    gr_user_membership m = {.room_id = gr_str_c(room),
                            .room_version = GR_STR("12"),
                            .membership = GR_STR("join"),
                            .event_id = GR_STR("$e"),
                            .room_pos = 1,
                            .sender = GR_STR("@a:here"),
                            .encrypted = encrypted};
    gr_stage_post(s, "room/!r", &gr_type_user_membership, &m, (gr_str){0});
}

/* The text of a `result`; empty when there was another answer. */
static inline gr_str user_result(gr_stage *s)
{
    const gr_result *r = gr_stage_replied(s, &gr_type_result);
    return r ? r->body : (gr_str){0};
}

static inline const gr_user_changes *user_changes(gr_stage *s, const char *device, gr_str since)
{
    gr_user_sync m = {.device = gr_str_c(device), .since = since};
    gr_stage_ask(s, &gr_type_user_sync, &m);
    const gr_user_changes *c = gr_stage_replied(s, &gr_type_user_changes);
    assert_non_null(c);
    return c;
}

static inline bool user_has(gr_str text, const char *part)
{
    return memmem(text.ptr, text.size, part, strlen(part)) != NULL;
}

#define assert_text(got, want) \
    do { \
        gr_str got_ = (got); \
        if (!gr_str_is(got_, want)) fail_msg("got \"%.*s\", wanted \"%s\"", GR_ARG(got_), want); \
    } while (0)
