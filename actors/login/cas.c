/* cas.c - CAS: a login by a ticket. See sso.h; CAS Protocol 3.0, 2.1 and 2.5. */
#include "actors/login/sso.h"

#include "proto/cas.h"
#include "proto/uri.h"

/* The service is the callback with the flow in it: CAS sends the browser there, and binds the ticket to it. */
static gr_str service(gr_login *l, gr_ctx *ctx)
{
    gr_arena *a = l->sso->arena;
    gr_str query = gr_arena_cat(a, 2, (gr_str[]){GR_STR("state="), gr_uri_encode(a, l->id)});
    return gr_uri_encode(a, gr_sso_with_query(a, gr_sso_callback(l->sso, ctx), query));
}

static gr_str base(const gr_sso *s)
{
    gr_str url = s->provider->issuer;
    while (url.size && url.ptr[url.size - 1] == '/') url.size--;
    return url;
}

/* Who authenticates for something special types the password anew. */
gr_str gr_sso_cas_url(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    return gr_arena_cat(s->arena, 4, (gr_str[]){base(s), GR_STR("/login?service="), service(l, ctx),
                                                s->flow.uia.size ? GR_STR("&renew=true") : GR_STR("")});
}

void gr_sso_cas_back(gr_login *l, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    gr_str url = gr_arena_cat(s->arena, 6, (gr_str[]){base(s), GR_STR("/p3/serviceValidate?service="), service(l, ctx),
                                                      GR_STR("&ticket="), gr_uri_encode(s->arena, s->code),
                                                      s->flow.uia.size ? GR_STR("&renew=true") : GR_STR("")});
    gr_sso_fetch(l, ctx, SSO_TICKET, &(gr_fetch){.url = url, .method = GR_STR("GET")});
}

void gr_sso_cas_step(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    gr_sso *s = l->sso;
    const gr_fetched *f = m->body;
    gr_err err = gr_ok();
    if (f->failure != GR_FETCH_ANSWERED || f->status != 200) err = gr_fail(GR_UNAVAILABLE, "CAS can't be reached");
    else err = gr_cas_validated(s->arena, f->body, &s->claims);
    if (gr_failed(err)) {
        gr_sso_fail(l, ctx, err);
        return;
    }
    s->flow.session = s->code.size <= GR_PROVIDER_SESSION_MAX ? s->code : (gr_str){0};
    gr_sso_person(l, ctx);
}
