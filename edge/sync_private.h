/* sync_private.h - one /sync being served: shared by sync.c, which asks, and sync_compose.c, which writes. See sync.h. */
#pragma once
#include "edge/sync.h"

#include "actors/user/sync_token.h"
#include "edge/pages.h"

typedef struct {
    gr_sync_room ask;
    gr_room_part part;                 /* of its first page; state, next and lists of users apart */
    gr_pieces state;
    gr_str page;                       /* the page asked for; empty: the first */
} gr_sync_room_state;

/* Users in a list that grows, each once when it is a set. */
typedef struct { gr_str *at; size_t count, room; uint32_t *table; size_t table_size; } gr_sync_users;

typedef struct {
    gr_str since;
    bool full_state, state_after;
    bool keys_only;                    /* GET /keys/changes: nothing but the device lists is answered */
    uint64_t until_ms;                 /* the end of a long poll */
    gr_shard_set lacking;              /* rooms of these shards gave no answer: they are owed */
    bool is_without;                   /* the user is asked without those */
    uint64_t again_ms;                 /* then those are asked again */
    const gr_json *filter, *room_filter, *timeline, *state, *ephemeral, *room_data;
    gr_user_changes changes;           /* strings kept in the call's arena */
    gr_sync_room_state *rooms;
    size_t room_count, asked, answered;
    size_t size;                       /* of all pieces of state */
    gr_sync_users changed;             /* device_lists.changed */
    gr_sync_users left;                /* candidates for device_lists.left, then those who are */
    size_t left_asked, left_answered;
    gr_str *gone;
    size_t gone_count;
    gr_user_in_rooms mine;             /* the encrypted rooms of who asks */
} gr_sync_state;

/* Adds users to a list, those that are new to it. */
void gr_sync_users_add(gr_call *, gr_sync_users *, gr_strs more);

/* Answers the call with what was gathered. */
void gr_sync_compose(gr_call *);
