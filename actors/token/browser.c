/* browser.c - who is signed in to the server's own pages: a token like others, held by a cookie. See token.h.
 *
 * It opens no client API.  It lies with the user's other tokens, so that what ends all of them (deactivation, a new password,
 * logging out everywhere) ends these too.
 */
#include "actors/token/token_private.h"

void gr_token_on_browser_begin(const gr_browser_begin *m, gr_ctx *ctx)
{
    gr_token_digest hash;
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    gr_token_row row = {.kind = GR_TOKEN_BROWSER, .user = m->user, .made_ms = now_ms, .expires_ms = now_ms + GR_TOKEN_BROWSER_MS,
                        .provider = m->provider, .session = m->session, .subject = m->subject};
    gr_token_pair pair = {.access = gr_token_draw(ctx, GR_TOKEN_BROWSER, &hash), .expires_in_ms = GR_TOKEN_BROWSER_MS};
    gr_token_put_row(ctx, gr_token_view(&hash), &row);
    gr_token_expires(ctx, gr_token_view(&hash), row.expires_ms);
    gr_ctx_reply(ctx, &gr_type_token_pair, &pair);
}

static const gr_token_row *find(gr_ctx *ctx, gr_str hash)
{
    const gr_token_row *row = gr_token_read_row(ctx, hash);
    return row && row->kind == GR_TOKEN_BROWSER && row->expires_ms > gr_ctx_now_ms(ctx) ? row : NULL;
}

void gr_token_on_browser_look(const gr_browser_look *m, gr_ctx *ctx)
{
    const gr_token_row *row = find(ctx, m->hash);
    if (!row) {
        gr_ctx_fail(ctx, gr_fail(GR_UNKNOWN_TOKEN, "Sign in again"));
        return;
    }
    gr_browser_is is = {.user = row->user, .made_ms = row->made_ms, .provider = row->provider, .session = row->session,
                        .subject = row->subject};
    gr_ctx_reply(ctx, &gr_type_browser_is, &is);
}

void gr_token_on_browser_end(gr_token_index *t, const gr_browser_end *m, gr_ctx *ctx)
{
    if (find(ctx, m->hash)) gr_token_drop_row(t, ctx, m->hash, NULL);
    gr_ctx_done(ctx);
}
