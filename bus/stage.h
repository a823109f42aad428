/* stage.h - actors in a unit test: hand one a message, look at what it leaves. No threads, no disk, no other
 * actors.
 *
 *     gr_stage *s = gr_stage_new((const gr_actor_kind *[]){&gr_user_kind, NULL}, "user/@a:b", NULL);
 *     gr_stage_ask(s, &gr_type_user_create, &(gr_user_create){.admin = true});
 *     assert_true(gr_stage_replied(s, &gr_type_done));
 *     gr_stage_reload(s);                                   (asserts that the digest stays the same)
 *
 * Effects of a message are those of the last call; all that is handed out lives until the stage is freed.
 * Each message's writes are committed before the next.  The clock stands at 1700000000000 until moved; random
 * numbers come from a seed. Several actors can share the stage, all in one shard: gr_stage_on says whom the
 * next messages are for.
 */
#pragma once
#include "bus/ctx.h"

typedef struct {
    gr_effect_kind kind;
    gr_verb verb; /* of a message */
    const gr_type *type;
    const void *body; /* decoded from its encoding */
    gr_str to, attachment;
    uint64_t seq;      /* of a reply: which ask it answers */
    bool is_forwarded; /* a post whose receiver is to answer */
    uint64_t timeout_ms;
    gr_resume resume; /* of an ask or work: give it back with gr_stage_answer */
    gr_str name;      /* of a timer */
    uint64_t due_ms;
    bool durable;
    const gr_work *work;
    gr_str input;
    const gr_fetch *fetch;
} gr_stage_effect;

typedef struct gr_stage gr_stage;
gr_stage *gr_stage_new(const gr_actor_kind *const *kinds, const char *address,
                       const void *env); /* kinds: NULL-ended */
void gr_stage_free(gr_stage **);
void gr_stage_on(gr_stage *,
                 const char *address); /* whom the next messages are for; loaded when first needed */
const void *gr_stage_self(gr_stage *); /* the actor's struct */
void gr_stage_clock(gr_stage *, uint64_t now_ms);
uint64_t gr_stage_now(const gr_stage *);
void gr_stage_level(gr_stage *, unsigned level); /* at which the node stands; all that there is until set */

/* --- messages; each returns the number of effects ------------------------------------------------------- */
size_t gr_stage_ask(gr_stage *, const gr_type *, const void *body); /* from edge/stage/0 */
uint64_t gr_stage_seq(const gr_stage *); /* of the last ask, to tell late answers apart */
size_t gr_stage_tell(gr_stage *, const char *from, const gr_type *, const void *body);
size_t gr_stage_post(gr_stage *, const char *from, const gr_type *, const void *body, gr_str attachment);
size_t gr_stage_post_forwarded(gr_stage *, const char *from, const gr_type *,
                               const void *body); /* wants an answer */
/* The reply to an ask of the actor; `effect` is that ask (or work).  With err the type is error and body is
 * ignored. */
size_t gr_stage_answer(gr_stage *, const gr_stage_effect *, const gr_type *, const void *body, gr_err);
size_t gr_stage_run_work(gr_stage *, const gr_stage_effect *); /* runs it here, delivers its result */
size_t gr_stage_fetched(gr_stage *, const gr_stage_effect *, const gr_fetched *); /* what came of a fetch */
/* Moves the clock to the earliest timer set and fires it; 0 with *fired false when none is set. */
size_t gr_stage_fire(gr_stage *, bool *fired);
/* Drops the actor and loads it again; asserts that its digest is what it was. */
void gr_stage_reload(gr_stage *);

/* --- what the last message left ------------------------------------------------------------------------- */
size_t gr_stage_count(const gr_stage *);
const gr_stage_effect *gr_stage_at(const gr_stage *, size_t);
/* The n-th message (from 0) with this verb and type (NULL: any); NULL when there is none. */
const gr_stage_effect *gr_stage_find(const gr_stage *, gr_verb, const gr_type *, size_t n);
size_t gr_stage_sent(const gr_stage *, gr_verb, const gr_type *); /* how many */
const void *gr_stage_replied(const gr_stage *, const gr_type *); /* body of the reply of that type, or NULL */
gr_err gr_stage_error(const gr_stage *); /* of the reply `error`; {0} when there is none */
const gr_stage_effect *gr_stage_timer(const gr_stage *,
                                      const char *name); /* as set by the last message, or NULL */
bool gr_stage_timer_set(const gr_stage *, const char *name, uint64_t *due_ms); /* now, by whichever message */
const gr_stage_effect *gr_stage_worked(const gr_stage *, size_t n);            /* the n-th work */
const gr_stage_effect *gr_stage_fetching(const gr_stage *, size_t n);          /* the n-th fetch */
size_t gr_stage_writes(const gr_stage *);                 /* puts and deletes of the last message */
const gr_write *gr_stage_write(const gr_stage *, size_t); /* key: without the actor's prefix */
bool gr_stage_over_bounds(const gr_stage *);              /* it read more than a handler may */
bool gr_stage_newer(const gr_stage *);                    /* it sent or stored what came after the level */
/* What is stored under an own key of the actor. */
bool gr_stage_get(gr_stage *, gr_str key, gr_str *value);
size_t gr_stage_keys(gr_stage *); /* how many keys it has */
