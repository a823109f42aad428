/* srv.c - SRV records. See srv.h. */
#include "edge/srv.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <stdlib.h>
#include <sys/time.h>

struct gr_srv { ares_channel channel; };

typedef struct {
    gr_srv_found *found;
    void *arg;
} look;

gr_err gr_srv_open(gr_arena *arena, const char *servers, gr_srv **out)
{
    struct ares_options options = {.timeout = GR_SRV_TIMEOUT_MS, .tries = GR_SRV_TRIES};
    gr_srv *s = gr_alloc(sizeof *s);
    *out = NULL;
    int failed = ares_library_init(ARES_LIB_INIT_ALL);
    if (!failed) failed = ares_init_options(&s->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    if (!failed && servers[0]) failed = ares_set_servers_ports_csv(s->channel, servers);
    if (failed) {
        if (s->channel) ares_destroy(s->channel);
        free(s);
        return gr_failf(arena, GR_INVALID_PARAM, "the resolver can't be used: %s", ares_strerror(failed));
    }
    *out = s;
    return gr_ok();
}

void gr_srv_close(gr_srv **at)
{
    if (!*at) return;
    ares_destroy((*at)->channel);
    ares_library_cleanup();
    free(*at);
    *at = NULL;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int size)
{
    look *l = arg;
    struct ares_srv_reply *replies = NULL;
    gr_resolve_record records[GR_RESOLVE_TARGETS];
    size_t count = 0;
    (void)timeouts;
    if (status == ARES_SUCCESS && ares_parse_srv_reply(bytes, size, &replies) != ARES_SUCCESS) replies = NULL;
    for (struct ares_srv_reply *r = replies; r && count < GR_RESOLVE_TARGETS; r = r->next)
        records[count++] = (gr_resolve_record){r->host, r->port, r->priority, r->weight};
    l->found(l->arg, records, count);
    if (replies) ares_free_data(replies);
    free(l);
}

void gr_srv_ask(gr_srv *s, const char *name, gr_srv_found *found, void *arg)
{
    look *l = gr_alloc(sizeof *l);
    *l = (look){found, arg};
    ares_query(s->channel, name, ns_c_in, ns_t_srv, on_answer, l);
}

size_t gr_srv_fds(gr_srv *s, struct pollfd fds[GR_SRV_FDS])
{
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    /* What its macros do, who shift a bit into the sign. */
    unsigned bits = (unsigned)ares_getsock(s->channel, sockets, ARES_GETSOCK_MAXNUM);
    size_t count = 0;
    for (int i = 0; i < ARES_GETSOCK_MAXNUM && count < GR_SRV_FDS; i++) {
        short events = 0;
        if (bits >> i & 1) events |= POLLIN;
        if (bits >> (i + ARES_GETSOCK_MAXNUM) & 1) events |= POLLOUT;
        if (events) fds[count++] = (struct pollfd){.fd = sockets[i], .events = events};
    }
    return count;
}

int gr_srv_wait_ms(gr_srv *s, int at_most_ms)
{
    struct timeval most = {at_most_ms / 1000, at_most_ms % 1000 * 1000}, left;
    struct timeval *wait = ares_timeout(s->channel, &most, &left);
    return wait ? (int)(wait->tv_sec * 1000 + wait->tv_usec / 1000) : at_most_ms;
}

void gr_srv_step(gr_srv *s, const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ares_process_fd(s->channel, fds[i].revents & (POLLIN | POLLERR | POLLHUP) ? fds[i].fd : ARES_SOCKET_BAD,
                        fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD);
    ares_process_fd(s->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);      /* its timeouts */
}
