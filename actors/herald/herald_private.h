/* herald_private.h - what the files of the herald share. */
#pragma once
#include "actors/herald/herald.h"

/* --- herald.c --- */
void gr_herald_gathered(gr_herald *, gr_ctx *);        /* all rooms have answered, or will not */

/* --- audience.c --- */
void gr_audience_gather(gr_herald *, gr_ctx *);
void gr_audience_on_answer(gr_herald *, const gr_msg *, gr_ctx *);
void gr_audience_forget(gr_herald *);

/* --- presence.c --- */
void gr_herald_on_presence(gr_herald *, const gr_herald_presence *, gr_ctx *);
void gr_herald_on_moved(gr_herald *, gr_ctx *);
void gr_herald_on_moved_timer(gr_herald *, gr_ctx *);  /* the volatile timer "moved" */
void gr_herald_tell_presence(gr_herald *, gr_ctx *);   /* what was not told yet */
void gr_herald_presence_drop(gr_herald *);
