/* admin_destinations.c - what this node's destinations are doing, for its owner and for metrics. See admin_inside.h. */
#include "edge/admin_inside.h"

#include "actors/destination/destinations.h"

enum { LISTED_MAX = 20000 };

typedef struct { gr_jw w; size_t count; bool failing_only; } listing;

static bool list_one(void *arg, const gr_destination_facts *d)
{
    listing *l = arg;
    if (l->failing_only && d->state == GR_DESTINATION_LIVE) return true;
    gr_jw_object(&l->w);
    gr_jw_kstr(&l->w, "server", d->name);
    gr_jw_kc(&l->w, "state", gr_destination_state_text(d->state));
    gr_jw_kint(&l->w, "failing_since", (int64_t)d->failing_since_ms);
    gr_jw_kint(&l->w, "next_try", (int64_t)d->next_try_ms);
    gr_jw_kint(&l->w, "failures", (int64_t)d->failures);
    gr_jw_kint(&l->w, "events", (int64_t)d->events);
    gr_jw_kint(&l->w, "edus", (int64_t)d->edus);
    gr_jw_kint(&l->w, "bytes", (int64_t)d->bytes);
    gr_jw_kint(&l->w, "rooms_owed", (int64_t)d->rooms_owed);
    gr_jw_kint(&l->w, "set_aside", (int64_t)d->set_aside);
    gr_jw_kint(&l->w, "refused_events", (int64_t)d->errors);
    gr_jw_end_object(&l->w);
    return ++l->count < LISTED_MAX;
}

gr_err gr_admin_destinations(gr_admin *admin, gr_arena *a, bool failing_only, gr_buf *out)
{
    listing l = {.w = gr_jw_begin(out), .failing_only = failing_only};
    gr_jw_object(&l.w);
    gr_jw_kint(&l.w, "time_ms", (int64_t)admin->now_ms);
    gr_jw_key(&l.w, "destinations");
    gr_jw_array(&l.w);
    gr_err err = gr_destinations_read(admin->store, a, list_one, &l);
    gr_jw_end_array(&l.w);
    gr_jw_end_object(&l.w);
    return err;
}

/* --- metrics ------------------------------------------------------------------------------------------------ */
typedef struct { uint64_t states[4], events, edus, bytes, rooms_owed, set_aside, errors; } sums;

static bool sum_one(void *arg, const gr_destination_facts *d)
{
    sums *s = arg;
    s->states[d->state]++;
    s->events += d->events;
    s->edus += d->edus;
    s->bytes += d->bytes;
    s->rooms_owed += d->rooms_owed;
    s->set_aside += d->set_aside;
    s->errors += d->errors;
    return true;
}

void gr_metrics_destinations(gr_buf *out, gr_store *store)
{
    static const char *const labels[] = {"live", "backing_off", "catch_up_pending", "catching_up"};
    sums s = {0};
    gr_arena *a = gr_arena_new(0);
    gr_err err = gr_destinations_read(store, a, sum_one, &s);
    gr_arena_free(&a);
    if (gr_failed(err)) return;                /* the store will work again, or says so elsewhere */
    const struct { const char *name, *type, *help; uint64_t value; } rest[] = {
        {"events", "gauge", "Events that wait for other servers.", s.events},
        {"edus", "gauge", "EDUs that wait for other servers and must not be lost.", s.edus},
        {"bytes", "gauge", "Bytes of what waits for other servers.", s.bytes},
        {"rooms_owed", "gauge", "Rooms in which other servers are to be caught up.", s.rooms_owed},
        {"set_aside_total", "counter", "What other servers have refused for good.", s.set_aside},
        {"refused_events_total", "counter", "Events in transactions that were taken without them.", s.errors}};
    gr_buf_c(out, "# HELP greenroom_destinations Other servers, by state.\n# TYPE greenroom_destinations gauge\n");
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        gr_buf_printf(out, "greenroom_destinations{state=\"%s\"} %llu\n", labels[i], (unsigned long long)s.states[i]);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        gr_buf_printf(out, "# HELP greenroom_destination_%s %s\n", rest[i].name, rest[i].help);
        gr_buf_printf(out, "# TYPE greenroom_destination_%s %s\n", rest[i].name, rest[i].type);
        gr_buf_printf(out, "greenroom_destination_%s %llu\n", rest[i].name, (unsigned long long)rest[i].value);
    }
}
