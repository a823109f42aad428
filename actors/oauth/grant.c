/* grant.c - codes made, allowed, redeemed. See grant.h. */
#include "actors/oauth/grant.h"

#include "proto/base64.h"
#include "proto/ident.h"
#include "proto/oauth.h"
#include "proto/sha256.h"

#define ROW GR_STR("g")
#define TIMER GR_STR("end")
#define UPKEEP_EXPIRED "grants-expired"

enum { SECRET_SIZE = 32, CODE_MAX = 128 };

typedef enum { MODE_CODE = 1, MODE_DEVICE } grant_mode;
typedef enum { STEP_WAITS = 1, STEP_ALLOWED, STEP_DENIED, STEP_SPENT } grant_step;

/* How often a device code is asked for: only in memory, a client that comes too often is told so all the same soon. */
typedef struct { uint64_t polled_ms, interval_ms; } gr_grant;

/* --- codes ------------------------------------------------------------------------------------------------- */
static gr_str hash_of(gr_arena *a, gr_str code)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(code.ptr, code.size, hash);
    return gr_arena_str(a, gr_str_of(hash, sizeof hash));
}

bool gr_grant_of_code(gr_arena *a, gr_str code, gr_str *address, gr_str *hash)
{
    ptrdiff_t dot = gr_str_find(code, '.');
    if (code.size > CODE_MAX || !gr_ident_opaque(code) || dot <= 0) return false;
    *address = gr_address(a, GR_KIND_GRANT, gr_str_head(code, (size_t)dot));
    *hash = hash_of(a, code);
    return true;
}

/* Consonants: no words, and no letters that look like others. RFC 8628 section 6.1. */
static const char user_letters[] = "BCDFGHJKLMNPQRSTVWXZ";

gr_str gr_grant_user_code(gr_arena *a, const unsigned char random[GR_GRANT_USER_CODE])
{
    char *text = gr_arena_alloc(a, GR_GRANT_USER_CODE + 1);
    for (size_t i = 0; i < GR_GRANT_USER_CODE; i++) text[i] = user_letters[random[i] % (sizeof user_letters - 1)];
    return gr_str_of(text, GR_GRANT_USER_CODE);
}

gr_str gr_grant_user_code_shown(gr_arena *a, gr_str code)
{
    return gr_arena_cat(a, 3, (gr_str[]){gr_str_head(code, 4), GR_STR("-"), gr_str_from(code, 4)});
}

gr_str gr_grant_user_code_read(gr_arena *a, gr_str typed)
{
    char *text = gr_arena_alloc(a, GR_GRANT_USER_CODE + 1);
    size_t size = 0;
    for (size_t i = 0; i < typed.size; i++) {
        char c = typed.ptr[i];
        if (c == '-' || c == ' ') continue;
        if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
        if (size == GR_GRANT_USER_CODE || c == 0 || !strchr(user_letters, c)) return (gr_str){0};
        text[size++] = c;
    }
    return size == GR_GRANT_USER_CODE ? gr_str_of(text, size) : (gr_str){0};
}

static gr_str make_code(gr_ctx *ctx)
{
    unsigned char random[SECRET_SIZE];
    gr_arena *a = gr_ctx_arena(ctx);
    gr_ctx_random(ctx, random, sizeof random);
    gr_str secret = gr_base64_url(a, gr_str_of(random, sizeof random));
    explicit_bzero(random, sizeof random);
    return gr_arena_cat(a, 3, (gr_str[]){gr_address_id(gr_ctx_self(ctx)), GR_STR("."), secret});
}

/* --- the row ----------------------------------------------------------------------------------------------- */
static bool read_row(gr_ctx *ctx, gr_oauth_grant *out)
{
    gr_str bytes;
    void *body = NULL;
    *out = (gr_oauth_grant){0};
    if (!gr_ctx_get(ctx, ROW, &bytes)) return false;
    if (gr_failed(gr_body_decode(gr_ctx_arena(ctx), &gr_type_oauth_grant, bytes, &body))) return false;
    *out = *(gr_oauth_grant *)body;
    return true;
}

static void put_row(gr_ctx *ctx, const gr_oauth_grant *g) { gr_ctx_put_body(ctx, ROW, &gr_type_oauth_grant, g); }

static void begin(gr_ctx *ctx, gr_oauth_grant *g, uint64_t lifetime_ms, uint64_t kept_ms)
{
    gr_str code = make_code(ctx);
    g->hash = hash_of(gr_ctx_arena(ctx), code);
    g->until_ms = gr_ctx_now_ms(ctx) + lifetime_ms;
    put_row(ctx, g);
    gr_ctx_timer(ctx, TIMER, g->until_ms + kept_ms, true);
    gr_ctx_reply(ctx, &gr_type_grant_made, &(gr_grant_made){.code = code});
}

static void refuse(gr_ctx *ctx, const char *error, const char *text)
{
    gr_ctx_reply(ctx, &gr_type_grant_refused, &(gr_grant_refused){.error = gr_str_c(error), .text = gr_str_c(text)});
}

/* --- authorisation codes ----------------------------------------------------------------------------------- */
static void on_code(const gr_grant_code *m, gr_ctx *ctx)
{
    gr_oauth_grant g = {.mode = MODE_CODE, .step = STEP_ALLOWED, .client = m->client, .client_name = m->client_name,
                        .redirect_uri = m->redirect_uri, .scope = m->scope, .device = m->device, .user = m->user,
                        .challenge = m->challenge, .provider = m->provider, .session = m->session, .subject = m->subject},
                   old;
    if (read_row(ctx, &old)) gr_ctx_fail(ctx, gr_fail(GR_USER_IN_USE, "This id is taken"));
    else begin(ctx, &g, GR_GRANT_CODE_MS, 0);
}

/* The code is spent in the batch that posts the device. */
static void make_tokens(gr_ctx *ctx, gr_oauth_grant *g, gr_str ip, gr_str agent)
{
    g->step = STEP_SPENT;
    put_row(ctx, g);
    gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_GRANT_SPENT_MS, true);
    gr_user_login login = {.device = g->device, .display_name = g->client_name, .refreshable = true, .ip = ip, .agent = agent,
                           .client = g->client, .scope = g->scope, .grant = gr_address_id(gr_ctx_self(ctx)),
                           .provider = g->provider, .session = g->session, .subject = g->subject};
    gr_ctx_post_forward(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, g->user), &gr_type_user_login, &login);
}

/* RFC 6749 section 4.1.2: somebody has the code who should not. */
static void end_replayed(gr_ctx *ctx, gr_oauth_grant *g)
{
    gr_user_logout logout = {.devices = {&g->device, 1}, .grant = gr_address_id(gr_ctx_self(ctx))};
    gr_ctx_post(ctx, gr_address(gr_ctx_arena(ctx), GR_KIND_USER, g->user), &gr_type_user_logout, &logout);
}

static void on_redeem(const gr_grant_redeem *m, gr_ctx *ctx)
{
    gr_oauth_grant g;
    const char *bad = NULL;
    if (!read_row(ctx, &g) || g.mode != MODE_CODE || !gr_str_eq(g.hash, m->hash)) bad = "This code is not known";
    else if (g.step == STEP_SPENT) bad = "This code has been used";
    else if (g.until_ms <= gr_ctx_now_ms(ctx)) bad = "This code has expired";
    else if (!gr_str_eq(g.client, m->client)) bad = "This code was given to another client";
    else if (!gr_str_eq(g.redirect_uri, m->redirect_uri)) bad = "'redirect_uri' is not that of the authorisation request";
    else if (!gr_oauth_verifies(gr_ctx_arena(ctx), m->verifier, g.challenge)) bad = "'code_verifier' does not fit";
    if (bad && g.step == STEP_SPENT && gr_str_eq(g.hash, m->hash)) end_replayed(ctx, &g);
    if (bad) refuse(ctx, "invalid_grant", bad);
    else make_tokens(ctx, &g, m->ip, m->agent);
}

/* --- device codes ------------------------------------------------------------------------------------------ */
static void on_device(const gr_grant_device *m, gr_ctx *ctx)
{
    gr_oauth_grant old, g = {.mode = MODE_DEVICE, .step = STEP_WAITS, .client = m->client, .client_name = m->client_name,
                             .scope = m->scope, .device = m->device};
    if (read_row(ctx, &old)) gr_ctx_fail(ctx, gr_fail(GR_USER_IN_USE, "This user code is taken"));
    else begin(ctx, &g, GR_GRANT_DEVICE_MS, GR_GRANT_EXPIRED_MS);
}

/* What waits for the user; false, and the message is answered, when nothing does. */
static bool waits(gr_ctx *ctx, gr_oauth_grant *g)
{
    if (read_row(ctx, g) && g->mode == MODE_DEVICE && g->step == STEP_WAITS && g->until_ms > gr_ctx_now_ms(ctx)) return true;
    gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "Nothing waits for this code: it may have expired"));
    return false;
}

static void on_look(gr_ctx *ctx)
{
    gr_oauth_grant g;
    if (waits(ctx, &g)) gr_ctx_reply(ctx, &gr_type_grant_is, &(gr_grant_is){.client = g.client, .device = g.device});
}

static void on_decide(const gr_grant_decide *m, gr_ctx *ctx)
{
    gr_oauth_grant g;
    if (!waits(ctx, &g)) return;
    g.step = m->allowed ? STEP_ALLOWED : STEP_DENIED;
    g.user = m->user;
    g.provider = m->provider;
    g.session = m->session;
    g.subject = m->subject;
    put_row(ctx, &g);
    gr_ctx_done(ctx);
}

/* RFC 8628 section 3.5: each time it comes too early the client has to wait longer. */
static bool comes_too_often(gr_grant *self, gr_ctx *ctx)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    if (self->interval_ms == 0) self->interval_ms = GR_GRANT_POLL_MS;
    bool early = self->polled_ms && now_ms - self->polled_ms + GR_GRANT_POLL_MS / 5 < self->interval_ms;
    self->polled_ms = now_ms;
    if (early) self->interval_ms += GR_GRANT_POLL_MS;
    return early;
}

static void on_poll(gr_grant *self, const gr_grant_poll *m, gr_ctx *ctx)
{
    gr_oauth_grant g;
    bool known = read_row(ctx, &g) && g.mode == MODE_DEVICE && gr_str_eq(g.hash, m->hash) && gr_str_eq(g.client, m->client);
    if (!known || g.step == STEP_SPENT) refuse(ctx, "invalid_grant", "This device code is not known, or was used");
    else if (g.until_ms <= gr_ctx_now_ms(ctx)) refuse(ctx, "expired_token", "The device code has expired: begin again");
    else if (g.step == STEP_DENIED) refuse(ctx, "access_denied", "The user has refused");
    else if (comes_too_often(self, ctx)) refuse(ctx, "slow_down", "Wait longer between two polls");
    else if (g.step == STEP_WAITS) refuse(ctx, "authorization_pending", "The user has not decided yet");
    else make_tokens(ctx, &g, m->ip, m->agent);
}

/* --- the actor --------------------------------------------------------------------------------------------- */
static void on_timer(gr_ctx *ctx)
{
    if (gr_ctx_upkeep_paused(ctx, UPKEEP_EXPIRED)) {
        gr_ctx_timer(ctx, TIMER, gr_ctx_now_ms(ctx) + GR_UPKEEP_PAUSED_MS, true);
        return;
    }
    gr_ctx_del(ctx, ROW);
    gr_ctx_upkeep(ctx, UPKEEP_EXPIRED, 1);
}

static void load(void *self, gr_str id, gr_ctx *ctx) { (void)self, (void)id, (void)ctx; }

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    switch (m->type->id) {
    case GR_T_grant_code: on_code(m->body, ctx); return;
    case GR_T_grant_redeem: on_redeem(m->body, ctx); return;
    case GR_T_grant_device: on_device(m->body, ctx); return;
    case GR_T_grant_look: on_look(ctx); return;
    case GR_T_grant_decide: on_decide(m->body, ctx); return;
    case GR_T_grant_poll: on_poll(self, m->body, ctx); return;
    case GR_T_timer: on_timer(ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A grant does not take this message"));
    }
}

static void drop(void *self) { (void)self; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    static const char *const steps[] = {"none", "waits for the user", "allowed", "denied", "spent"};
    gr_oauth_grant g;
    (void)self;
    read_row(ctx, &g);
    gr_buf_printf(out, "\"device_code\":%s,\"step\":\"%s\"", g.mode == MODE_DEVICE ? "true" : "false",
                  steps[g.step <= STEP_SPENT ? g.step : 0]);
}

static const gr_actor_upkeep upkeep[] = {{.name = UPKEEP_EXPIRED, .by_timer = true}, {0}};

const gr_actor_kind gr_grant_kind = {.kind = GR_KIND_GRANT, .size = sizeof(gr_grant), .load = load, .handle = handle,
                                     .drop = drop, .inspect = inspect, .upkeep = upkeep};
