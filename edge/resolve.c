/* resolve.c - where a server is. See resolve.h. */
#include "edge/resolve.h"

#include "proto/ident.h"

#include <stdio.h>

static void put(char *out, size_t room, gr_str text)
{
    gr_assert(text.size < room);
    memcpy(out, text.ptr, text.size);
    out[text.size] = 0;
}

static void add_target(gr_resolve *r, gr_str host, uint16_t port)
{
    gr_resolve_target *t = &r->targets[r->target_count++];
    put(t->host, sizeof t->host, host);
    t->port = port;
}

static void want_srv(gr_resolve *r, bool is_old)
{
    r->step = GR_RESOLVE_SRV;
    r->is_old_srv = is_old;
    snprintf(r->wanted, sizeof r->wanted, "%s.%s", is_old ? "_matrix._tcp" : "_matrix-fed._tcp", r->name);
}

/* Steps 1 and 2, and 3.1 and 3.2 for a delegate.  False: it is a host name without a port. */
static bool is_plain(gr_resolve *r, gr_str server_name)
{
    gr_str host;
    uint16_t port = 0;
    bool literal = false;
    r->step = GR_RESOLVE_NOWHERE;
    if (server_name.size >= GR_RESOLVE_HOST || !gr_ident_server_split(server_name, &host, &port, &literal)) return true;
    put(r->name, sizeof r->name, host);
    put(r->header, sizeof r->header, server_name);
    if (!literal && port == 0) return false;
    add_target(r, host, port ? port : GR_RESOLVE_PORT);
    r->step = GR_RESOLVE_DONE;
    return true;
}

void gr_resolve_begin(gr_resolve *r, gr_str server_name)
{
    *r = (gr_resolve){0};
    if (is_plain(r, server_name)) return;
    r->step = GR_RESOLVE_WELL_KNOWN;
    snprintf(r->wanted, sizeof r->wanted, "%s", r->name);
}

void gr_resolve_plain(gr_resolve *r, gr_str host)
{
    *r = (gr_resolve){0};
    if (is_plain(r, host)) {
        gr_str name;
        uint16_t port = 0;
        bool literal;
        if (r->step == GR_RESOLVE_DONE && gr_ident_server_split(host, &name, &port, &literal) && port == 0)
            r->targets[0].port = GR_RESOLVE_HTTPS;
        return;
    }
    add_target(r, gr_str_c(r->name), GR_RESOLVE_HTTPS);
    r->step = GR_RESOLVE_DONE;
}

void gr_resolve_well_known(gr_resolve *r, gr_str delegate)
{
    gr_assert(r->step == GR_RESOLVE_WELL_KNOWN);
    if (delegate.size && is_plain(r, delegate)) return;
    want_srv(r, false);
}

/* One of the records not yet taken: the lowest priority, among these by weight. */
static size_t draw(const gr_resolve_record *records, const bool *taken, size_t count, uint64_t *random)
{
    size_t best = count;
    uint64_t weights = 0;
    for (size_t i = 0; i < count; i++)
        if (!taken[i] && (best == count || records[i].priority < records[best].priority)) best = i;
    for (size_t i = 0; i < count; i++)
        if (!taken[i] && records[i].priority == records[best].priority) weights += records[i].weight + 1u;
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    uint64_t at = (*random >> 33) % weights;
    for (size_t i = 0; i < count; i++) {
        if (taken[i] || records[i].priority != records[best].priority) continue;
        if (at <= records[i].weight) return i;
        at -= records[i].weight + 1u;
    }
    return best;
}

void gr_resolve_srv(gr_resolve *r, const gr_resolve_record *records, size_t count, uint64_t random)
{
    bool taken[GR_RESOLVE_TARGETS] = {0};
    gr_assert(r->step == GR_RESOLVE_SRV);
    if (count == 0 && !r->is_old_srv) {
        want_srv(r, true);
        return;
    }
    if (count > GR_RESOLVE_TARGETS) count = GR_RESOLVE_TARGETS;
    for (size_t i = 0; i < count; i++) {
        size_t at = draw(records, taken, count, &random);
        gr_str host = gr_str_c(records[at].host);
        taken[at] = true;
        if (host.size && host.size < GR_RESOLVE_HOST && !gr_str_is(host, ".") && records[at].port)
            add_target(r, host, records[at].port);
    }
    if (count == 0) add_target(r, gr_str_c(r->name), GR_RESOLVE_PORT);
    r->step = r->target_count ? GR_RESOLVE_DONE : GR_RESOLVE_NOWHERE;    /* "." as target: RFC 2782, no such service */
}
