/* port.h - how the edge takes part in the bus: it asks actors, gets replies, and is itself asked now and then.
 *
 * A port belongs to one edge thread.  Admission by credit: at most `in_flight_max` asks are open per port and
 * `in_flight_max_per_worker` per worker; past that gr_port_ask fails with GR_LIMIT_EXCEEDED and nothing was sent.
 * Views handed to callbacks live until the callback returns.
 */
#pragma once
#include "proto/catalogue.h"

typedef struct gr_node gr_node;
typedef struct gr_port gr_port;

typedef struct {
    /* The reply (or failure: err.code, type == &gr_type_error) to the ask with this number.  Exactly one per ask. */
    void (*on_reply)(void *arg, uint64_t seq, const gr_type *, const void *body, gr_err err);
    /* An actor asks or tells the edge something (token_forget).  Answer with gr_port_answer when seq is not 0. */
    void (*on_message)(void *arg, gr_str from, uint64_t seq, const gr_type *, const void *body);
    void *arg;
} gr_port_handler;

/* index: number of the edge thread on this node; its address is "edge/<node name>/<index>". */
gr_port *gr_port_open(gr_node *, unsigned index, const gr_port_handler *);
void gr_port_close(gr_port **);                     /* outstanding asks are forgotten */
gr_str gr_port_address(const gr_port *);
int gr_port_fd(const gr_port *);                    /* readable when gr_port_step has something to do (level or edge: call step until 0) */

/* True if one more ask to this address would be admitted: the edge asks before it parses a body. */
bool gr_port_has_credit(const gr_port *, gr_str to);
/* *seq names the ask in on_reply.  trace 0 draws a new trace id.  Long polls (patient) do not use up credit. */
GR_MUST_USE gr_err gr_port_ask(gr_port *, gr_str to, const gr_type *, const void *body, uint64_t now_ms, uint64_t timeout_ms,
                               bool patient, uint64_t trace, uint64_t *seq);
void gr_port_tell(gr_port *, gr_str to, const gr_type *, const void *body, uint64_t trace);
/* Gives up on an ask: no on_reply will come for it. */
void gr_port_forget(gr_port *, uint64_t seq);
void gr_port_answer(gr_port *, gr_str to, uint64_t seq, const gr_type *, const void *body);
/* Delivers replies, messages and timeouts; at most `limit` of them. Returns how many; *next_ms: when it has to be called again. */
size_t gr_port_step(gr_port *, uint64_t now_ms, size_t limit, uint64_t *next_ms);
uint64_t gr_port_trace(gr_port *);                  /* a new trace id */
