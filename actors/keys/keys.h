/* keys.h - the keys flow: finds signing keys of many servers for one who asks.  "keys/<random>", of one question each.
 *
 * Keys come from what is kept (their destination actors), then in one batch from a notary, then from the servers themselves;
 * for one server alone the last two change places, since it is there that the question comes from.  A notary is believed when
 * it has signed its answer with a key that it publishes itself, and the server's own signature is there too.
 * One who has to do with a server anyway may name it as one more notary (via), for what nobody else knows.  Whom that server
 * speaks for cannot be asked, so it could have made their keys up: they are in the answer, and are not kept.
 * A question that wants them fresh is that of another server, which asks this one as its notary: no other notary is asked,
 * since two that ask each other would never come to an end.
 * What it knows is memory: whoever asks repeats the question after a crash.
 */
#pragma once
#include "actors/env.h"

enum {
    GR_KEYS_SERVERS_MAX = 100,     /* of one question */
    GR_KEYS_ASK_MS = 25 * 1000,    /* for a server */
    GR_KEYS_NOTARY_MS = 20 * 1000
};

typedef struct gr_keys_flow gr_keys_flow;

extern const gr_actor_kind gr_keys_kind;
