/* sim.h - a whole cluster in one thread: nodes with workers over memory stores, a virtual clock, and seeded
 * faults.
 *
 * The same options give the same run, which gr_sim_hash shows.  A tick is one millisecond: every worker steps
 * once, in an order drawn from the seed, stores and pools complete what is due, frames that have waited long
 * enough arrive.  Clients are simulated edges, one per node ("edge/n0/0").  Links between nodes can be cut, one
 * way or both, which both ends notice after a while (transport->link); a node has a wall clock of its own, which
 * may be set.  Faults can be switched off, to see that everything then comes to rest: cuts are healed, clocks stay
 * different.
 */
#pragma once
#include "bus/clock.h"
#include "bus/port.h"
#include "bus/worker.h"
#include "persistence/memory_engine.h"

typedef struct gr_sim gr_sim;

/* An ask that an actor sent to the edge of a node: true answers it "done"; false leaves it without an answer. */
typedef bool gr_sim_edge_fn(void *arg, unsigned node, const gr_type *, const void *body);

/* What a remote server does with a request of an actor: fills the answer, whose text lies in the arena; at random by
 * gr_sim_random only.  False: the answer comes later, by gr_sim_fetched with this number. */
typedef bool gr_sim_remote_fn(void *arg, gr_sim *, unsigned node, uint64_t number, const gr_fetch *, gr_arena *,
                              gr_fetched *);

typedef struct {
    uint64_t seed;
    gr_str server_name;                /* empty: "sim" */
    unsigned nodes, workers;           /* 0: 1 */
    const gr_actor_kind *const *kinds; /* NULL-ended */
    const void *env;
    const gr_level *levels;            /* feature level of each node; NULL: all there are */
    /* Chances per million.  Frames between nodes; those within a node are only delayed. */
    uint32_t lose, repeat;
    uint32_t delay_max; /* ticks that a frame may take; order is kept per pair of endpoints only */
    uint32_t stray, stray_max; /* a frame takes up to so many ticks more, and those behind it pass: even of a new link */
    uint32_t full;      /* send answers that the way is full */
    uint32_t crash;     /* per tick and node: it loses its memory, and starts again some ticks later */
    uint32_t down_max;  /* ticks that a crashed node may stay down; it is down for 3 at least */
    uint32_t cut;       /* per tick: links are cut for up to cut_max ticks: a node's or a pair's, one way or both */
    uint32_t cut_max;
    uint32_t set_clock; /* per tick and node: its wall clock is set, up to skew_max_ms off either way */
    uint64_t skew_max_ms; /* how far wall clocks may be off from the beginning; 0: all agree */
    uint32_t jump;      /* per tick: all clocks jump ahead by up to jump_max_ms */
    uint32_t unload;    /* per tick and worker: an idle actor is dropped, reloaded, and compared */
    uint64_t jump_max_ms;
    uint32_t work_delay_max; /* ticks */
    gr_sim_remote_fn *remote; /* NULL: no other server can be reached */
    void *remote_arg;
    uint32_t remote_delay_max; /* ticks that a request to one takes */
    gr_memory_options store; /* its seed is drawn from this seed */
    size_t memory_max;       /* as in gr_worker_options */
    gr_log_fn *log;          /* of every message handled, with its body; NULL: none */
    void *log_arg;
    gr_sim_edge_fn *on_edge_ask; /* NULL: asks to edges are not answered */
    void *on_edge_ask_arg;
} gr_sim_options;

gr_sim *gr_sim_new(const gr_sim_options *);
void gr_sim_free(gr_sim **);
uint64_t gr_sim_now(const gr_sim *);
uint64_t gr_sim_node_now(const gr_sim *, unsigned node); /* by that node's clock */
unsigned gr_sim_starts(const gr_sim *, unsigned node);   /* how often it was started: its edge forgot all then */
bool gr_sim_is_up(const gr_sim *, unsigned node);
void gr_sim_faults(gr_sim *, bool on); /* all but those of stores, whose chances are theirs */
void gr_sim_run(gr_sim *, uint64_t ticks);
/* Runs without faults until nothing is under way (outboxes empty, mailboxes empty, all durable); false: not
 * within that. */
bool gr_sim_settle(gr_sim *, uint64_t ticks_max);
void gr_sim_crash(gr_sim *, unsigned node, uint64_t ticks); /* now; it starts again after that */
void gr_sim_start(gr_sim *, unsigned node); /* one that is down, with the next tick */
/* What lies on the disk of one that is down, as a store of its own. */
void gr_sim_offline(gr_sim *, unsigned node, void (*fn)(void *arg, gr_store *), void *arg);
void gr_sim_wipe(gr_sim *, unsigned node);  /* crash, and start with an empty store, as after restoring an old backup */
void gr_sim_jump(gr_sim *, uint64_t ms);    /* all clocks: time passes in which nothing is done */
/* When there is something to do again, besides answers of remote servers that come later: now, or when a timer is due. */
uint64_t gr_sim_next_ms(gr_sim *);
void gr_sim_set_clock(gr_sim *, unsigned node, int64_t off_ms); /* its wall clock is that far off */
void gr_sim_cut(gr_sim *, unsigned from, unsigned to, uint64_t ticks); /* frames that way are lost */
void gr_sim_heal(gr_sim *);
uint64_t gr_sim_random(gr_sim *);
uint64_t gr_sim_hash(const gr_sim *);       /* of every message handled so far, with its time */
uint64_t gr_sim_mismatches(const gr_sim *); /* actors that were not the same after being loaded again */
gr_worker *gr_sim_worker(gr_sim *, unsigned node, unsigned worker); /* NULL while it is down */
gr_store *gr_sim_store(gr_sim *, unsigned node);                     /* NULL while it is down */
gr_worker *gr_sim_worker_of(gr_sim *, gr_str address);
unsigned gr_sim_node_of(const gr_sim *, gr_str address); /* whose shard it is */
gr_crash_slot *gr_sim_slot(gr_sim *, unsigned node,
                           unsigned worker); /* outlives crashes, as the crash page does */
void gr_sim_count(gr_sim *, gr_worker_counters *sum);

/* The port of a real edge, "edge/n0/1", of a node that is up.  To be closed when the node is down. */
gr_port *gr_sim_port_open(gr_sim *, unsigned node, const gr_port_handler *);
/* What came of a request that was not answered at once. False: it is forgotten, since its node crashed. */
bool gr_sim_fetched(gr_sim *, unsigned node, uint64_t number, const gr_fetched *);

/* An ask from the edge of a node; the number by which gr_sim_reply knows it.  Of a node that is down it fails. */
uint64_t gr_sim_ask(gr_sim *, unsigned node, gr_str to, const gr_type *, const void *body,
                    uint64_t timeout_ms);
void gr_sim_tell(gr_sim *, unsigned node, gr_str to, const gr_type *, const void *body);
/* False: no reply yet.  Else the reply, once: its type and body, or type error with err. */
bool gr_sim_reply(gr_sim *, uint64_t seq, gr_arena *, const gr_type **, void **body, gr_err *);
/* Asks and runs until the reply has come (or the timeout). */
const void *gr_sim_call(gr_sim *, gr_str to, const gr_type *, const void *body, gr_arena *, const gr_type **,
                        gr_err *);
