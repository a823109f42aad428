/* guesses.c - how often a password may be tried. See account.h.
 *
 * An attempt counts when it begins, so that many at once are no way around, and is taken back when the password was right.
 * From the configured number on each has to wait, twice as long as the one before, up to a limit.  Addresses that the user's
 * devices were seen at are counted apart from all others: a stranger who guesses can't lock the user out.  The count is kept
 * in memory, for accounts that do not exist too, so that nobody learns by it which do.
 */
#include "actors/user/account.h"

enum { FIRST_WAIT_MS = 1000, DOUBLINGS_MAX = 30, FORGOTTEN_MS = 24 * 60 * 60 * 1000 };

static gr_user_guesses *guesses_from(gr_user *u, gr_ctx *ctx, gr_str ip)
{
    return &u->guesses[gr_user_devices_seen_at(ctx, ip)];
}

static uint64_t wait_after(const gr_env *env, uint64_t count)
{
    uint64_t past = count - env->guesses.free;
    uint64_t wait_ms = (uint64_t)FIRST_WAIT_MS << (past < DOUBLINGS_MAX ? past : DOUBLINGS_MAX);
    return wait_ms < env->guesses.wait_max_ms ? wait_ms : env->guesses.wait_max_ms;
}

uint64_t gr_user_guess(gr_user *u, gr_ctx *ctx, gr_str ip)
{
    const gr_env *env = gr_env_of(ctx);
    gr_user_guesses *g = guesses_from(u, ctx, ip);
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (env->guesses.free == 0) return 0;
    if (g->last_ms + FORGOTTEN_MS < now_ms) g->count = 0;
    if (g->count >= env->guesses.free) {
        uint64_t until_ms = g->last_ms + wait_after(env, g->count);
        if (until_ms > now_ms) return until_ms - now_ms;
    }
    g->count++;
    g->last_ms = now_ms;
    return 0;
}

void gr_user_on_guessed(gr_user *u, const gr_user_guessed *m, gr_ctx *ctx)
{
    *guesses_from(u, ctx, m->ip) = (gr_user_guesses){0};
}
