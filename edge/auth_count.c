/* auth_count.c - counting logins. See auth_count.h. */
#include "edge/auth_count.h"

#include "actors/login/login_token.h"

_Static_assert((int)GR_EDGE_REFUSALS == (int)GR_LOGIN_REFUSALS, "one counter for each reason");

static const char *const own[GR_EDGE_OWN_WAYS] = {"password", "token", "guest"};

/* The series of a provider; -1 for one that is configured no longer. */
static int place_of(const gr_config *config, gr_str provider)
{
    for (int i = 0; i < GR_EDGE_OWN_WAYS; i++)
        if (gr_str_is(provider, own[i])) return i;
    for (size_t i = 0; i < config->sso_providers.count; i++)
        if (gr_str_is(provider, config->sso_providers.at[i].id)) return GR_EDGE_OWN_WAYS + (int)i;
    return -1;
}

void gr_auth_count_login(gr_edge *e, gr_str provider)
{
    int place = place_of(e->config, provider);
    if (place >= 0) e->counters.logins[place]++;
}

void gr_auth_count_registration(gr_edge *e, gr_str provider)
{
    int place = place_of(e->config, provider);
    if (place >= 0) e->counters.registrations[place]++;
}

static void series(gr_buf *out, const gr_config *config, const char *name, const char *help, const uint64_t *counts)
{
    gr_buf_printf(out, "# HELP greenroom_%s %s\n# TYPE greenroom_%s counter\n", name, help, name);
    for (size_t i = 0; i < GR_EDGE_OWN_WAYS + config->sso_providers.count; i++) {
        const char *way = i < GR_EDGE_OWN_WAYS ? own[i] : config->sso_providers.at[i - GR_EDGE_OWN_WAYS].id;
        gr_buf_printf(out, "greenroom_%s{auth_provider=\"%s\"} %llu\n", name, way, (unsigned long long)counts[i]);
    }
}

void gr_auth_count_print(gr_buf *out, const gr_config *config, const gr_edge_counters *c)
{
    static const char *const why[GR_LOGIN_REFUSALS] = {"unknown", "expired", "reused"};
    series(out, config, "user_logins_total", "Logins by who vouched for the user.", c->logins);
    series(out, config, "user_registrations_total", "New accounts by who vouched for the user.", c->registrations);
    gr_buf_c(out, "# HELP greenroom_login_tokens_refused_total Login tokens that let nobody in.\n"
                  "# TYPE greenroom_login_tokens_refused_total counter\n");
    for (int i = 0; i < GR_LOGIN_REFUSALS; i++)
        gr_buf_printf(out, "greenroom_login_tokens_refused_total{why=\"%s\"} %llu\n", why[i],
                      (unsigned long long)c->login_tokens_refused[i]);
}
