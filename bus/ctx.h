/* ctx.h - the inside of gr_ctx: what one handler has read, written and asked for, before any of it takes
 * effect.
 *
 * Made by the worker around each handler, and by the stage of actor tests.  Writes are staged here and reach
 * the shard's overlay only when the handler has finished, so that one that failed leaves nothing; its own
 * reads see them. Keys in the shard: the kind's byte (0x20 + kind), the id, 0x00, the actor's own key.
 */
#pragma once
#include "bus/actor.h"
#include "persistence/overlay.h"
#include "persistence/update.h"

typedef enum { GR_FX_MESSAGE, GR_FX_TIMER, GR_FX_TIMER_CLEAR, GR_FX_WORK, GR_FX_FETCH } gr_effect_kind;

/* Everything in it lies in the ctx's arena. */
typedef struct gr_effect gr_effect;
struct gr_effect {
    gr_effect *next;
    gr_effect_kind kind;
    gr_verb verb; /* of a message */
    const gr_type *type;
    gr_str to, body;
    unsigned level; /* at which the body was written */
    gr_str attachment_key, attachment; /* gr_ctx_post_with: key in the shard, and what lies there now */
    gr_str reply_to;                   /* a forwarded reply */
    uint64_t reply_seq;
    uint64_t seq; /* reply: of the ask; post: given by the worker when the handler has finished */
    uint64_t timeout_ms;
    gr_resume resume;             /* of an ask, work or fetch */
    uint64_t trace, parent, span; /* span: given by the worker when the handler has finished */
    gr_str name;                  /* of a timer */
    uint64_t due_ms;
    bool durable;
    const gr_work *work;
    gr_str input; /* of work; a fetch, encoded */
};

typedef struct {
    uint64_t hash;
    gr_op_kind kind;
    gr_str key, value;
} gr_write; /* whole key in the shard */

/* What the ctx needs of the worker (or of the stage). */
typedef struct {
    uint64_t (*position)(void *arg, uint8_t shard); /* a new one */
    uint64_t (*newest)(void *arg, uint8_t shard);
    const void *(*sibling)(void *arg, gr_kind, uint8_t shard);
    void (*random)(void *arg, void *out, size_t size);
    void (*asker_freed)(void *arg, gr_asker *); /* without an answer */
} gr_ctx_host;

struct gr_asker {
    const gr_ctx_host *host;
    void *host_arg;
    uint64_t seq, trace, span;
    size_t to_size;
    char to[];
};

/* A row that the handler has read from the overlay: to read it again costs nothing. */
typedef struct {
    uint64_t hash, turn; /* turn: of the handler */
    gr_str key, value;   /* whole key; value NULL: there is none */
} gr_seen_row;

enum { GR_CTX_SEEN = 128 };

enum { GR_PREFIX_MAX = GR_ADDRESS_MAX + 2, GR_ACTOR_KEY_FIRST = 0x20 };

struct gr_ctx {
    const gr_ctx_host *host;
    void *host_arg;
    gr_arena *arena;
    const gr_overlay *overlay;     /* NULL: it reads a snapshot, as work does */
    const gr_shard *home;
    gr_snapshot *snapshot;
    const gr_updates *updates;     /* of the shard; NULL: nothing is paused */
    bool updates_paused;           /* all of them */
    const void *env;
    uint64_t now_ms, incarnation;
    unsigned level;
    uint8_t shard;
    bool loading; /* within kind->load: effects are a bug */
    gr_str self;
    gr_kind kind;
    size_t prefix_size;
    char prefix[GR_PREFIX_MAX];
    /* The message that is handled. */
    uint64_t trace, span;
    bool wants_answer;
    gr_str asker;
    uint64_t asker_seq;
    /* What the handler left. */
    gr_write *writes;
    size_t write_count, write_room;
    size_t write_bytes; /* about what it adds to the batch, posts included */
    gr_effect *first, **last;
    uint64_t position; /* 0: not asked for */
    /* What it cost. */
    uint64_t turn;
    gr_seen_row seen[GR_CTX_SEEN]; /* by hash; the newer of two goes before */
    unsigned gets, rows;           /* gets: of different rows, as far as they are remembered */
    uint64_t tallies[GR_TALLIES];
    size_t scan_bytes;
    gr_err failed;  /* of the store, on the way */
    const char *upkeep; /* what it did of one by timer; NULL: nothing */
    uint64_t upkeep_worked;
    bool is_newer;  /* it sent or stored a type above the level */
    gr_buf scratch; /* for encoding; kept from message to message */
};

/* Makes a ctx ready for the next message to `self`, forgetting what the last one left.  The fixed parts
 * (host, env, arena, overlay, shard, incarnation, level, now_ms) are set by the caller. */
void gr_ctx_begin(gr_ctx *, gr_str self);
/* Who is to be answered: an ask, or a post with a forwarded reply. */
void gr_ctx_asked(gr_ctx *, gr_str asker, uint64_t seq);
bool gr_ctx_over_bounds(const gr_ctx *);
void gr_ctx_free(gr_ctx *); /* what it holds on the heap */

/* May an actor of one kind ask one of the other? */
bool gr_ask_allowed(gr_kind from, gr_kind to);
/* The prefix of an actor's keys in its shard; the size, or 0 when the address is no key (an id with a NUL in
 * it). */
size_t gr_actor_prefix(gr_kind, gr_str id, char out[GR_PREFIX_MAX]);
