/* init.h - making a data directory: for `greenroom init` and `greenroom cluster init`. */
#pragma once
#include "edge/cli.h"

typedef struct {
    const char *dir;
    size_t count;
    const gr_str *names, *values;   /* keys of the configuration, checked */
    const char *keys_of;            /* the data directory of another node of the same server; NULL: new keys */
} gr_init;

/* The directory, its configuration and its keys; says what went wrong.  Nothing that exists is overwritten.  Gives an exit
 * code. */
int gr_init_make(gr_arena *, const gr_init *);
/* The key by which the node of a data directory is known to others; says what went wrong. */
bool gr_init_public_key(gr_arena *, const char *dir, uint8_t out[32]);
