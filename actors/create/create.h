/* create.h - createRoom: a flow that builds the create event, reserves the alias and has the room made.
 *
 * Lives at create/<random>, as long as one createRoom takes.  Its step and all it needs to repeat it are one
 * row; a durable timer repeats a step that was not answered, so that a room half made before a crash is
 * finished after it, or once a node that was out of reach is back. Asked by the edge with create_room; answers
 * result {"room_id"}, or the first error, and then has freed the alias.
 */
#pragma once
#include "actors/env.h"
#include "proto/event.h"

enum {
    GR_CREATE_STEP_MS = 15000,
    GR_CREATE_ASK_MS = 5000,
    GR_CREATE_TRIES_MAX = 8,
    GR_CREATE_CLAIM_MS = 600000
};

typedef enum {
    GR_CREATE_IDLE, GR_CREATE_CLAIM, GR_CREATE_MAKE, GR_CREATE_CONFIRM, GR_CREATE_ALIAS, GR_CREATE_PUBLISH,
    GR_CREATE_INVITE
} gr_create_step;

extern const gr_actor_kind gr_create_kind;

/* The signed create event of a new room, in the arena of ctx; it names the room.  Where that name is its hash, a random
 * member makes it one of a kind: of two equal rooms made in one millisecond, and of those whose name somebody guesses.
 * shards: a bit for each where the room may lie, if that is to be had by a few draws; empty: anywhere. */
GR_MUST_USE gr_err gr_create_event(gr_ctx *, const gr_room_version *, gr_str user, gr_str content, gr_str shards,
                                   gr_event_built *);

/* request.c: is the body of createRoom well-formed, and what does it ask for?  Texts name the field. */
typedef struct {
    const gr_json *json;
    const gr_room_version *version;
    gr_str alias;                      /* whole, or empty */
    bool publish;
} gr_create_request;
GR_MUST_USE gr_err gr_create_request_read(gr_arena *, const gr_env *, gr_str text, gr_create_request *out);
/* Content of the create event. */
gr_str gr_create_content(gr_arena *, const gr_create_request *, gr_str creator);
