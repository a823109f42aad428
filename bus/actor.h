/* actor.h - what an actor is, and all that it may do: read its keyspace, and leave effects.
 *
 * An actor is a plain struct and one function.  A handler reads through its ctx and leaves effects in it: puts and
 * deletes in its own keyspace, messages, timers, work.  All effects of one message leave together, in the order given,
 * after its batch is durable; if the commit fails none of them does and the actor is dropped and loaded again.
 * No clock, random source, socket, file, thread, lock or global: time and randomness come from here.
 * Views passed in are copied by the call; views handed out live until the handler returns.
 */
#pragma once
#include "proto/catalogue.h"
#include "proto/address.h"

enum {
    GR_HANDLER_GETS_MAX = 64, GR_HANDLER_ROWS_MAX = 256, GR_HANDLER_SCAN_BYTES_MAX = 64 * 1024,    /* counted; see ctx.h */
    GR_RESUME_MAX = 1024, GR_SUBKEY_MAX = 1024
};

typedef struct gr_ctx gr_ctx;

/* A small value that an actor gives along with an ask or a work, and finds again in the reply. */
typedef struct { uint32_t step; uint64_t number; gr_str bytes; } gr_resume;

typedef struct {
    gr_verb verb;                  /* GR_TELL (timers too), GR_ASK, GR_POST, GR_REPLY (work too) */
    const gr_type *type;           /* GR_REPLY that failed: &gr_type_error */
    const void *body;              /* the struct of that type */
    gr_str from;                   /* address of the sender */
    gr_str attachment;             /* of a post with gr_ctx_post_with; else empty */
    const gr_resume *resume;       /* GR_REPLY: as given with the ask or work; else NULL */
    gr_err err;                    /* GR_REPLY: why it failed (also GR_TIMEOUT, GR_UNAVAILABLE); else {0} */
    unsigned level;                /* feature level at which it was written, maybe before an upgrade was finished */
} gr_msg;

/* Upkeep of all actors of a kind.  The worker gives each in turn the message `upkeep_step` of this name until it answers
 * finished; every step commits with how far the upkeep is, and steps are paced by what others feel (upkeep.h).  One that
 * cannot do it answers an error, and is skipped with that reason. */
typedef struct {
    const char *name;              /* unique among all kinds and never changed */
    const char *depends;           /* one of those before it, which has to be finished in the shard; NULL: none */
    uint64_t every_ms;             /* 0: once; else again so long after it was finished in the shard */
    bool by_timer;                 /* the actors do it as needed, see to the pause themselves and tell it with gr_ctx_upkeep */
} gr_actor_upkeep;

/* One per kind, constant.  self is zeroed memory of `size` bytes. */
typedef struct {
    gr_kind kind;
    size_t size;
    /* Rebuilds self from the store; bounded reads; may set nothing but memory (no effects). id: the address after "kind/". */
    void (*load)(void *self, gr_str id, gr_ctx *);
    void (*handle)(void *self, const gr_msg *, gr_ctx *);
    /* Frees what self holds (not self). */
    void (*drop)(void *self);
    /* True while it must not be dropped: waiters, staged effects, outstanding work or asks. NULL: never. */
    bool (*busy)(const void *self);
    /* Bytes it holds beyond `size`. NULL: none. */
    size_t (*memory)(const void *self);
    /* A hash of all that would be the same after a reload (not waiters, caches): the simulator compares. NULL: not checked. */
    uint64_t (*digest)(const void *self);
    /* JSON members (inside an object) for `greenroom inspect`. NULL: nothing to say. */
    void (*inspect)(const void *self, gr_ctx *, gr_buf *out);
    const gr_actor_upkeep *upkeep; /* ends with {0}; NULL: none */
} gr_actor_kind;

/* --- facts ------------------------------------------------------------------------------------------------- */
uint64_t gr_ctx_now_ms(gr_ctx *);                           /* since 1970; the same during one handler */
void gr_ctx_random(gr_ctx *, void *out, size_t size);
gr_arena *gr_ctx_arena(gr_ctx *);                           /* freed after the effects of the group were released */
gr_str gr_ctx_self(gr_ctx *);                               /* own address */
uint8_t gr_ctx_shard(gr_ctx *);
const void *gr_ctx_env(gr_ctx *);                           /* what the node was opened with: actors/env.h */
uint64_t gr_ctx_incarnation(gr_ctx *);                      /* of the shard's store: part of sync tokens */
/* The feature level at which this node speaks and stores (bus/level.h): newer types and meanings may not be used before. A
 * handler that sends or stores a newer type is undone and fails GR_UNAVAILABLE; newer fields are left out. */
unsigned gr_ctx_level(gr_ctx *);

/* Adds to one of the node's running sums, which metrics show; what each means is the actors' (actors/tally.h). */
enum { GR_TALLIES = 4 };
void gr_ctx_tally(gr_ctx *, unsigned which, uint64_t n);

/* Positions order everything in one shard that readers see; they never repeat, also across crashes, and may have gaps.
 * gr_ctx_position gives this message its position (the same one however often it is asked for within a handler). */
uint64_t gr_ctx_position(gr_ctx *);
uint64_t gr_ctx_newest(gr_ctx *);                           /* the highest position given so far in this shard */

/* --- the own keyspace -------------------------------------------------------------------------------------- */
/* A failed read of the store counts as absent; the message is then undone and answered GR_UNAVAILABLE by the runtime. */
bool gr_ctx_get(gr_ctx *, gr_str key, gr_str *value);
/* Rows from <= key < to in order (to empty: no end; descending starts below `to`). The callback returns false to stop.
 * Sees the effects of this handler too.  Views hold during the callback only. */
typedef bool gr_ctx_row_fn(void *arg, gr_str key, gr_str value);
void gr_ctx_scan(gr_ctx *, gr_str from, gr_str to, bool descending, size_t limit, gr_ctx_row_fn *, void *arg);
/* All rows whose key starts with prefix, ascending. */
void gr_ctx_scan_prefix(gr_ctx *, gr_str prefix, size_t limit, gr_ctx_row_fn *, void *arg);
bool gr_ctx_count_row(void *count, gr_str key, gr_str value);   /* for any scan: counts the rows in a size_t */
bool gr_ctx_has_written(const gr_ctx *);                    /* has this handler put or deleted anything so far */
void gr_ctx_put(gr_ctx *, gr_str key, gr_str value);
void gr_ctx_del(gr_ctx *, gr_str key);
/* A row that is a struct of the catalogue, as nodes of the present level read it. */
void gr_ctx_put_body(gr_ctx *, gr_str key, const gr_type *, const void *body);

/* The actor of a per-shard kind in this shard (its feed), loaded, read-only: it runs in the same worker, so what it shows
 * is the present.  Its keyspace can be read with gr_ctx_sibling_get/scan. */
const void *gr_ctx_sibling(gr_ctx *, gr_kind per_shard_kind);
bool gr_ctx_sibling_get(gr_ctx *, gr_kind per_shard_kind, gr_str key, gr_str *value);
void gr_ctx_sibling_scan(gr_ctx *, gr_kind, gr_str from, gr_str to, bool descending, size_t limit, gr_ctx_row_fn *, void *arg);

/* A row of another actor in this shard, which likewise is the present. False: there is none, or the actor is of another shard. */
bool gr_ctx_neighbour_get(gr_ctx *, gr_str address, gr_str key, gr_str *value);

/* Forgets all that this handler has left so far, its answer too: it may answer again.  Kept askers stay kept. */
void gr_ctx_undo(gr_ctx *);

/* --- messages ---------------------------------------------------------------------------------------------- */
/* Bodies are encoded by the call. type is &gr_type_x and body a gr_x.  to is a whole address, not necessarily local. */
void gr_ctx_tell(gr_ctx *, gr_str to, const gr_type *, const void *body);    /* may be lost, except within one shard */
void gr_ctx_ask(gr_ctx *, gr_str to, const gr_type *, const void *body, uint64_t timeout_ms, const gr_resume *);
void gr_ctx_post(gr_ctx *, gr_str to, const gr_type *, const void *body);    /* durable, ordered, once */
/* A post whose attachment is the value stored under own key when it is sent: event bytes are not stored twice. */
void gr_ctx_post_with(gr_ctx *, gr_str to, const gr_type *, const void *body, gr_str own_key);
/* A post whose receiver answers the present ask in our place, once it has applied it. */
void gr_ctx_post_forward(gr_ctx *, gr_str to, const gr_type *, const void *body);

/* Answers the present message if it wants an answer (an ask, or a post with a forwarded reply); else does nothing. */
void gr_ctx_reply(gr_ctx *, const gr_type *, const void *body);
void gr_ctx_done(gr_ctx *);                                 /* reply `done` */
void gr_ctx_json(gr_ctx *, gr_str body);                    /* reply `result`: JSON text */
void gr_ctx_fail(gr_ctx *, gr_err);                         /* reply `error` */

/* To answer later: keep who asked (heap; a long poll), answer once, and it is freed. NULL when nobody wants an answer. */
typedef struct gr_asker gr_asker;
gr_asker *gr_ctx_keep_asker(gr_ctx *);
void gr_ctx_answer(gr_ctx *, gr_asker **, const gr_type *, const void *body);
void gr_ctx_answer_fail(gr_ctx *, gr_asker **, gr_err);
/* The present message, which nobody else waits for, is answered to who is kept: for one that is handled again. */
void gr_ctx_take_asker(gr_ctx *, gr_asker **);
void gr_asker_free(gr_asker **);                            /* without an answer: the asker's timeout speaks */

/* --- timers and work --------------------------------------------------------------------------------------- */
/* One timer per name (<= 64 bytes); setting it again moves it.  A durable one survives restarts and is deleted in the
 * batch of the message it causes; a volatile one lives as long as the process.  Delivered as GR_TELL of type timer. */
void gr_ctx_timer(gr_ctx *, gr_str name, uint64_t due_ms, bool durable);
void gr_ctx_timer_clear(gr_ctx *, gr_str name);

/* Of an upkeep of the kind that is by_timer: counts what this message did of it, for `greenroom updates`; and is it held?
 * Then the actor leaves it, and its timer comes again after GR_UPKEEP_PAUSED_MS. */
enum { GR_UPKEEP_PAUSED_MS = 60 * 1000 };
void gr_ctx_upkeep(gr_ctx *, const char *name, uint64_t worked);
bool gr_ctx_upkeep_paused(gr_ctx *, const char *name);

/* A pure function run on a pool: password hashes, signature batches, scans over a snapshot of the own keyspace.
 * The result comes back as GR_REPLY of type work_done.  Input is copied and zeroed after use. */
typedef struct gr_work_reader gr_work_reader;               /* the actor's keyspace as it was durable when work began */
typedef struct {
    const char *name;
    bool (*run)(gr_arena *, gr_str input, gr_work_reader *, gr_buf *output);     /* false: failed */
    bool is_long;                                           /* may take seconds: others never wait for it */
    bool is_costly;                                         /* much of processor and memory: few at a time, at a low priority */
} gr_work;
void gr_ctx_work(gr_ctx *, const gr_work *, gr_str input, const gr_resume *);
bool gr_work_get(gr_work_reader *, gr_arena *, gr_str key, gr_str *value);
void gr_work_scan(gr_work_reader *, gr_str from, gr_str to, bool descending, size_t limit, gr_ctx_row_fn *, void *arg);
/* A ctx over the same snapshot, for code that handlers and work share. Its clock stands at now_ms; it has no random numbers,
 * positions or siblings. One ask waits for its answer, or rows are written; any other effect is a bug. It lives as long as
 * the work. */
gr_ctx *gr_work_ctx(gr_work_reader *, uint64_t now_ms);
/* Rows and timers that were left in that ctx, for a handler of the same actor to leave in its own; how many bytes so far. */
void gr_work_written(gr_work_reader *, gr_buf *out);
size_t gr_work_written_size(const gr_work_reader *);
void gr_ctx_write_again(gr_ctx *, gr_str written);
bool gr_work_failed(const gr_work_reader *);                /* the store could not be read */
/* What that ask was answered: its type, and the encoded body in the arena. False: nothing, or the store could not be read. */
bool gr_work_answered(gr_work_reader *, const gr_type **, gr_str *body);

/* A request to another server, made by the loop that does HTTP; what came of it is a GR_REPLY of type fetched.  Copied. */
typedef enum {
    GR_FETCH_ANSWERED,        /* whatever the status */
    GR_FETCH_DENIED,          /* the server, or every address of it, must not be talked to */
    GR_FETCH_UNREACHABLE,     /* no address, no connection, no TLS with its name */
    GR_FETCH_TIMEOUT,
    GR_FETCH_BROKEN,          /* the connection ended early, or what came is not HTTP */
    GR_FETCH_TOO_LARGE,
    GR_FETCH_BUSY,            /* not tried: too many requests, or this node stops */
    GR_FETCH_OFFLINE          /* not tried: no server can be reached, so it is this one's network that is out */
} gr_fetch_failure;
void gr_ctx_fetch(gr_ctx *, const gr_fetch *, const gr_resume *);
