/* sim.h - a whole cluster in one thread: nodes with workers over memory stores, a virtual clock, and seeded
 * faults.
 *
 * The same options give the same run, which gr_sim_hash shows.  A tick is one millisecond: every worker steps
 * once, in an order drawn from the seed, stores and pools complete what is due, frames that have waited long
 * enough arrive.  Clients are simulated edges, one per node ("edge/n0/0").  Faults can be switched off, to
 * see that everything then comes to rest.
 */
#pragma once
#include "bus/worker.h"
#include "persistence/memory_engine.h"

typedef struct {
    uint64_t seed;
    unsigned nodes, workers;           /* 0: 1 */
    const gr_actor_kind *const *kinds; /* NULL-ended */
    const void *env;
    /* Chances per million.  Frames between nodes; those within a node are only delayed. */
    uint32_t lose, repeat;
    uint32_t delay_max; /* ticks that a frame may take; order is kept per pair of endpoints only */
    uint32_t full;      /* send answers that the way is full */
    uint32_t crash;     /* per tick and node: it loses its memory, and starts again some ticks later */
    uint32_t jump;      /* per tick: the clock jumps ahead by up to jump_max_ms */
    uint32_t unload;    /* per tick and worker: an idle actor is dropped, reloaded, and compared */
    uint64_t jump_max_ms;
    uint32_t work_delay_max; /* ticks */
    gr_memory_options store; /* its seed is drawn from this seed */
    size_t memory_max;       /* as in gr_worker_options */
} gr_sim_options;

typedef struct gr_sim gr_sim;
gr_sim *gr_sim_new(const gr_sim_options *);
void gr_sim_free(gr_sim **);
uint64_t gr_sim_now(const gr_sim *);
void gr_sim_faults(gr_sim *, bool on); /* all but those of stores, whose chances are theirs */
void gr_sim_run(gr_sim *, uint64_t ticks);
/* Runs without faults until nothing is under way (outboxes empty, mailboxes empty, all durable); false: not
 * within that. */
bool gr_sim_settle(gr_sim *, uint64_t ticks_max);
void gr_sim_crash(gr_sim *, unsigned node); /* now; it starts again in the next tick */
void gr_sim_jump(gr_sim *, uint64_t ms);    /* the clock */
uint64_t gr_sim_random(gr_sim *);
uint64_t gr_sim_hash(const gr_sim *);       /* of every message handled so far, with its time */
uint64_t gr_sim_mismatches(const gr_sim *); /* actors that were not the same after being loaded again */
gr_worker *gr_sim_worker(gr_sim *, unsigned node, unsigned worker); /* NULL while it is down */
gr_worker *gr_sim_worker_of(gr_sim *, gr_str address);
gr_crash_slot *gr_sim_slot(gr_sim *, unsigned node,
                           unsigned worker); /* outlives crashes, as the crash page does */
void gr_sim_count(gr_sim *, gr_worker_counters *sum);

/* An ask from the edge of a node; the number by which gr_sim_reply knows it. */
uint64_t gr_sim_ask(gr_sim *, unsigned node, gr_str to, const gr_type *, const void *body,
                    uint64_t timeout_ms);
void gr_sim_tell(gr_sim *, unsigned node, gr_str to, const gr_type *, const void *body);
/* False: no reply yet.  Else the reply, once: its type and body, or type error with err. */
bool gr_sim_reply(gr_sim *, uint64_t seq, gr_arena *, const gr_type **, void **body, gr_err *);
/* Asks and runs until the reply has come (or the timeout). */
const void *gr_sim_call(gr_sim *, gr_str to, const gr_type *, const void *body, gr_arena *, const gr_type **,
                        gr_err *);
