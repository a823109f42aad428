/* wants.h - which keys are needed to check some events, of all their signers together. */
#pragma once
#include "actors/keys/keys.h"
#include "proto/event.h"

enum { GR_WANTS_KEYS = 8 };            /* of one server */

typedef struct {
    gr_arena *arena;
    gr_str own;                        /* this server: its keys are known */
    uint64_t now_ms;
    gr_keys_wanted *at;
    size_t count;
} gr_wants;

gr_wants gr_wants_begin(gr_arena *, gr_str own, uint64_t now_ms);
/* The keys with which `server` has signed, by a "signatures" object of an event that was made at ts. */
void gr_wants_add(gr_wants *, const gr_json *signatures, gr_str server, int64_t ts);
/* Those of all servers that have to sign an event whose room version may not be known yet. */
void gr_wants_add_pdu(gr_wants *, const gr_json *pdu);
