/* volatile.c - EDUs that may be lost. See destination.h. */
#include "actors/destination/destination_private.h"

#include <stdlib.h>

enum { MOST = 50 };                    /* of one transaction */

static void forget(gr_destination *d, gr_destination_volatile_edu **at)
{
    gr_destination_volatile_edu *gone = *at;
    *at = gone->next;
    d->volatile_count--;
    d->volatile_bytes -= gone->edu.size;
    free((char *)gone->fold.ptr);
    free((char *)gone->edu.ptr);
    free(gone);
}

static gr_str keep(gr_str s) { return (gr_str){gr_str_dup(s), s.size}; }

/* The one that is under way stays: whether it arrives is not known yet. */
static void fold(gr_destination *d, gr_str by)
{
    gr_destination_volatile_edu **at = &d->volatiles;
    while (*at && ((*at)->is_under_way || !gr_str_eq((*at)->fold, by))) at = &(*at)->next;
    if (*at) forget(d, at);
}

void gr_volatile_on_edu(gr_destination *d, const gr_destination_volatile *m, gr_ctx *ctx)
{
    if (m->edu.size == 0 || m->edu.size > GR_DESTINATION_VOLATILE_BYTES || d->owed.is_dropping) return;
    if (m->fold.size) fold(d, m->fold);
    gr_destination_volatile_edu *edu = gr_alloc(sizeof *edu), **at = &d->volatiles;
    *edu = (gr_destination_volatile_edu){.fold = keep(m->fold), .edu = keep(m->edu),
                                         .until_ms = m->keep_ms ? gr_ctx_now_ms(ctx) + m->keep_ms : 0};
    while (*at) at = &(*at)->next;
    *at = edu;
    d->volatile_count++;
    d->volatile_bytes += edu->edu.size;
    while (d->volatile_count > GR_DESTINATION_VOLATILE_MAX || d->volatile_bytes > GR_DESTINATION_VOLATILE_BYTES)
        forget(d, &d->volatiles);
    gr_destination_go_on(d, ctx);
}

void gr_volatile_take(gr_destination *d, gr_buf *out, gr_ctx *ctx)
{
    size_t count = 0;
    (void)gr_volatile_waits(d, ctx);
    for (gr_destination_volatile_edu *edu = d->volatiles; edu && count < MOST; edu = edu->next, count++) {
        edu->is_under_way = true;
        if (out->size) gr_buf_char(out, ',');
        gr_buf_str(out, edu->edu);
    }
}

void gr_volatile_sent(gr_destination *d, bool taken)
{
    for (gr_destination_volatile_edu **at = &d->volatiles; *at;) {
        if ((*at)->is_under_way && taken) {
            forget(d, at);
        } else {
            (*at)->is_under_way = false;
            at = &(*at)->next;
        }
    }
}

bool gr_volatile_waits(gr_destination *d, gr_ctx *ctx)
{
    for (gr_destination_volatile_edu **at = &d->volatiles; *at;) {
        bool is_old = (*at)->until_ms && (*at)->until_ms <= gr_ctx_now_ms(ctx) && !(*at)->is_under_way;
        if (is_old) forget(d, at);
        else at = &(*at)->next;
    }
    return d->volatiles != NULL;
}

void gr_volatile_drop(gr_destination *d)
{
    while (d->volatiles) forget(d, &d->volatiles);
}
