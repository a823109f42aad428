/* port.h - how the edge takes part in the bus: it asks actors, gets replies, and is itself asked now and
 * then.
 *
 * A port belongs to one edge thread. Admission by credit: at most `in_flight_max` asks are open per port and
 * `in_flight_max_per_worker` per worker; past that gr_port_ask fails with GR_LIMIT_EXCEEDED and nothing was
 * sent. Views handed to callbacks live until the callback returns; callbacks may ask, tell, answer and
 * forget, but not step.
 */
#pragma once
#include "bus/level.h"
#include "bus/transport.h"
#include "proto/address.h"
#include "proto/catalogue.h"

typedef struct gr_node gr_node;
typedef struct gr_port gr_port;

typedef struct {
    /* The reply (or failure: err.code, type == &gr_type_error) to the ask with this number. Exactly one per
     * ask. */
    void (*on_reply)(void *arg, uint64_t seq, const gr_type *, const void *body, gr_err err);
    /* An actor asks or tells the edge something (token_forget). Answer with gr_port_answer when seq is not 0.
     */
    void (*on_message)(void *arg, gr_str from, uint64_t seq, const gr_type *, const void *body);
    void *arg;
} gr_port_handler;

/* index: number of the edge thread on this node, below ports_max; its address is "edge/<node name>/<index>".
 * Called on that thread, as everything below. NULL when no socket could be opened. */
gr_port *gr_port_open(gr_node *, unsigned index, const gr_port_handler *);
void gr_port_close(gr_port **);                     /* outstanding asks are forgotten; before gr_node_close */
gr_str gr_port_address(const gr_port *);
/* Readable (level) while gr_port_step has something to deliver, timeouts apart. */
int gr_port_fd(const gr_port *);

/* True if one more ask to this address would be admitted: the edge asks before it parses a body. */
bool gr_port_has_credit(const gr_port *, gr_str to);
/* Where a shard runs: on this node, on one that can be reached, or on one that can't be just now. */
typedef enum { GR_PORT_HERE, GR_PORT_REACHED, GR_PORT_OUT_OF_REACH } gr_port_place;
gr_port_place gr_port_place_of_shard(const gr_port *, uint8_t shard);
/* *seq names the ask in on_reply. trace 0 draws a new trace id. Long polls (patient) do not use up credit:
 * they have a bound of their own. now_ms: since 1970. GR_LIMIT_EXCEEDED: no credit; GR_UNAVAILABLE: the way
 * to the worker is full or gone, or the type came with a later feature level than the node's; GR_TOO_LARGE;
 * GR_INVALID_PARAM: no address. Then no on_reply will come. */
GR_MUST_USE gr_err gr_port_ask(gr_port *, gr_str to, const gr_type *, const void *body, uint64_t now_ms,
                               uint64_t timeout_ms, bool patient, uint64_t trace, uint64_t *seq);
void gr_port_tell(gr_port *, gr_str to, const gr_type *, const void *body, uint64_t trace);
/* Gives up on an ask: no on_reply will come for it. */
void gr_port_forget(gr_port *, uint64_t seq);
/* To whoever asked the edge; within on_message it continues the trace of that message. */
void gr_port_answer(gr_port *, gr_str to, uint64_t seq, const gr_type *, const void *body);
/* Delivers replies, messages and timeouts: at most `limit` frames (each a group's replies) and as many
 * timeouts. Returns how many were delivered; *next_ms: when it has to be called again (UINT64_MAX: when the
 * descriptor says so). */
size_t gr_port_step(gr_port *, uint64_t now_ms, size_t limit, uint64_t *next_ms);
/* Between hold and flush what is sent to one worker is gathered and leaves as one frame: one wake-up for many
 * requests. Within callbacks of step this is so without asking. An ask whose frame was refused fails in the
 * next step. */
void gr_port_hold(gr_port *);
void gr_port_flush(gr_port *);
uint64_t gr_port_trace(gr_port *);                  /* a new trace id */
uint64_t gr_port_trace_now(const gr_port *);        /* of the reply or message being delivered; 0 outside of callbacks */

typedef struct {
    uint64_t asks, replies, timeouts, refused, unavailable;    /* refused: no credit */
    uint64_t late;                                  /* replies to asks that timed out or were forgotten */
    uint64_t messages, dropped_tells, bad;          /* bad: envelopes that could not be read */
    uint64_t in_flight, patient;                    /* now */
} gr_port_counters;
void gr_port_count(const gr_port *, gr_port_counters *);       /* the port's thread */

/* --- for those who wire ports themselves (node.c, the simulator) --- */
struct gr_message_log;
typedef struct {
    gr_transport *transport;
    gr_endpoint self;
    const char *node;                               /* name, for the address */
    const gr_endpoint *shards;                      /* GR_SHARDS of them; outlives */
    /* The endpoint of "edge/<node>/<index>"; NULL, or false: that can't be asked. */
    bool (*find_edge)(void *arg, gr_str address, gr_endpoint *out);
    void *find_edge_arg;
    unsigned in_flight_max, in_flight_max_per_worker, patient_max;     /* 0: 4096; in_flight_max; 65536 */
    uint64_t seed;                                  /* of trace ids and numbers; 0: drawn by libsodium */
    const gr_level *level;                          /* of the node; outlives. NULL: nothing is held back */
    struct gr_message_log *log;                     /* NULL: none */
    unsigned log_writer;
    uint64_t (*clock_us)(void *arg);                /* for the log; needed with one */
    void *clock_arg;
    void (*closed)(void *arg, gr_endpoint);         /* when the port is closed; may be NULL */
    void *closed_arg;
    gr_port_handler handler;
} gr_port_options;
gr_port *gr_port_new(const gr_port_options *);
