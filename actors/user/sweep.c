/* sweep.c - what a user leaves behind, deleted a step at a time. See account.h.
 *
 * Tokens are ended at once, by one message to the token index; device rows of a large account and the data of an erased one
 * go in steps of the durable timers "devices" and "erase", which a restart repeats.
 *
 *   w    the logout of all devices that is under way: 8 bytes of when it began, then the device that stays
 */
#include "actors/user/account.h"
#include "actors/user/keys.h"

enum { STEP_ROWS = 100 };
#define LOGOUT GR_STR("w")

/* --- devices ----------------------------------------------------------------------------------------------- */
typedef struct { const gr_user *user; gr_ctx *ctx; gr_str keep; uint64_t before_ms; size_t seen; gr_str last; } devices_step;

/* Who has logged in since the logout began stays. */
static bool end_device(void *arg, gr_str key, gr_str value)
{
    devices_step *s = arg;
    void *body = NULL;
    gr_str device = gr_arena_str(gr_ctx_arena(s->ctx), gr_str_from(key, 1));
    s->seen++;
    s->last = device;
    gr_err err = gr_body_decode(gr_ctx_arena(s->ctx), &gr_type_user_device, value, &body);
    const gr_user_device *d = gr_failed(err) ? &(gr_user_device){0} : body;
    bool is_newer = d->login_ms > s->before_ms;
    if (is_newer || (s->keep.size && gr_str_eq(device, s->keep))) return true;
    gr_user_device_end(s->user, s->ctx, device, d);
    return true;
}

static void devices_on(gr_user *u, gr_ctx *ctx, gr_str state)
{
    devices_step s = {.user = u, .ctx = ctx, .before_ms = gr_u64be(state.ptr)};
    gr_str rest = gr_str_from(state, 8);
    ptrdiff_t nul = gr_str_find(rest, 0);
    gr_assert(nul >= 0);
    s.keep = gr_str_head(rest, (size_t)nul);
    gr_str after = gr_str_from(rest, (size_t)nul + 1);
    gr_str nul_byte = after.size ? gr_str_of("\0", 1) : GR_STR("");
    gr_str from = gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){GR_STR("d"), after, nul_byte});
    gr_ctx_scan(ctx, from, GR_STR("e"), false, GR_USER_DEVICES_STEP, end_device, &s);
    if (s.seen == GR_USER_DEVICES_STEP) {      /* there may be more */
        gr_str next = gr_arena_cat(gr_ctx_arena(ctx), 4,
                                   (gr_str[]){gr_str_head(state, 8), s.keep, gr_str_of("\0", 1), s.last});
        gr_ctx_put(ctx, LOGOUT, next);
        gr_ctx_timer(ctx, GR_STR("devices"), gr_ctx_now_ms(ctx), true);
    } else {
        gr_ctx_del(ctx, LOGOUT);
    }
    gr_user_keys_devices_gone(u, ctx);
}

void gr_user_sweep_devices(gr_user *u, gr_ctx *ctx, gr_str keep)
{
    gr_buf state = {0};
    gr_buf_u64be(&state, gr_ctx_now_ms(ctx));
    gr_buf_str(&state, keep);
    gr_buf_char(&state, 0);
    devices_on(u, ctx, gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&state)));
    gr_buf_free(&state);
}

void gr_user_sweep_on_devices_timer(gr_user *u, gr_ctx *ctx)
{
    gr_str state;
    if (gr_ctx_get(ctx, LOGOUT, &state) && state.size >= 9) devices_on(u, ctx, gr_arena_str(gr_ctx_arena(ctx), state));
}

/* --- erasure ----------------------------------------------------------------------------------------------- */
typedef struct { gr_ctx *ctx; size_t count; } erasing;

static bool erase_row(void *arg, gr_str key, gr_str value)
{
    erasing *e = arg;
    (void)value;
    gr_ctx_del(e->ctx, key);
    return ++e->count < STEP_ROWS;
}

/* Account data, filters, push rules, notifications, to-device messages and key backups.  Keys and memberships stay: others
 * have seen them, and rooms have still to be told. */
void gr_user_sweep_erase(gr_ctx *ctx)
{
    static const char *const letters[] = {"g", "G", "f", "p", "t", "x", "b", "n", "C"};
    erasing e = {.ctx = ctx};
    for (size_t i = 0; i < sizeof letters / sizeof letters[0] && e.count < STEP_ROWS; i++)
        gr_ctx_scan_prefix(ctx, gr_str_c(letters[i]), STEP_ROWS - e.count, erase_row, &e);
    if (e.count == STEP_ROWS) gr_ctx_timer(ctx, GR_STR("erase"), gr_ctx_now_ms(ctx), true);
}
