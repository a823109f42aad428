/* register.c - what a session does once its stages are done: making an account, changing a password. See login.h. */
#include "actors/login/login_private.h"

#include "actors/email/email.h"
#include "actors/login/password.h"
#include "proto/ident.h"

static gr_str whole_id(gr_login *l, gr_ctx *ctx, gr_str localpart)
{
    gr_str server_name = gr_env_of(ctx)->server_name;
    return gr_arena_printf(l->attempt->arena, "@%" GR_FMT ":%" GR_FMT, GR_ARG(localpart), GR_ARG(server_name));
}

static gr_err check_password(gr_login *l, gr_ctx *ctx, gr_str password)
{
    return gr_password_check(gr_ctx_arena(ctx), gr_env_of(ctx), l->attempt->user, password);
}

gr_err gr_login_check_register(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    const gr_env *env = gr_env_of(ctx);
    gr_str name = gr_json_text(a->request, "username"), password = gr_json_text(a->request, "password");
    a->device = gr_json_text(a->request, "device_id");
    a->display_name = gr_json_text(a->request, "initial_device_display_name");
    a->refreshable = gr_json_boolean(gr_json_get(a->request, "refresh_token"), false);
    a->inhibit_login = gr_json_boolean(gr_json_get(a->request, "inhibit_login"), false);
    if (!env->registration_open && !env->registration_token)
        return gr_fail(GR_FORBIDDEN, "This server takes no registrations: ask its administrator for an account");
    if (name.size && !gr_ident_localpart_new(name))
        return gr_fail(GR_INVALID_USERNAME, "A user name has only a-z 0-9 . _ = - / +");
    if (a->device.size && !gr_ident_device(a->device))
        return gr_fail(GR_INVALID_PARAM, "'device_id' is not a valid device id");
    if (name.size) a->user = whole_id(l, ctx, name);
    if (a->asked_by.size && !gr_str_eq(a->asked_by, a->user))
        return gr_fail(GR_FORBIDDEN, "A guest who registers keeps their name: 'username' must be that of the guest");
    if (a->user.size > GR_IDENT_MAX) return gr_fail(GR_INVALID_USERNAME, "The user name is too long");
    return password.size ? check_password(l, ctx, password) : gr_ok();
}

static void hash_password(gr_login *l, gr_ctx *ctx, gr_str password)
{
    unsigned char salt[GR_PASSWORD_SALT];
    gr_ctx_random(ctx, salt, sizeof salt);
    gr_str input = gr_password_hash_input(gr_ctx_arena(ctx), gr_env_of(ctx), salt, password);
    (void)l;
    gr_ctx_work(ctx, &gr_password_hash_work, input, &(gr_resume){.step = STEP_HASH});
    explicit_bzero((char *)input.ptr, input.size);
}

/* The name is drawn from the session's id, so that a repeat finds the account that was made. */
static void choose_name(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    if (a->user.size) return;
    a->user = whole_id(l, ctx, gr_arena_printf(a->arena, "u%016llx", (unsigned long long)gr_str_hash(l->id)));
}

static void make_account(gr_login *l, gr_ctx *ctx, gr_str password_hash)
{
    const login_attempt *a = l->attempt;
    gr_user_create create = {.password_hash = password_hash, .admin = a->admin, .key = l->id, .terms = a->terms,
                             .from_guest = a->asked_by.size > 0};
    gr_login_ask_user(l, ctx, a->user, STEP_CREATE, &gr_type_user_create, &create);
}

void gr_login_on_account(gr_login *l, const gr_login_account *m, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    a->is_account = true;
    a->admin = m->admin;
    a->log_in = m->log_in;
    a->user = whole_id(l, ctx, m->name);
    a->ip = gr_arena_str(a->arena, m->ip);
    a->agent = gr_arena_str(a->arena, m->agent);
    gr_err err = m->password_hash.size == 0 ? check_password(l, ctx, m->password)
               : gr_password_hash_check(gr_env_of(ctx), m->password_hash);
    if (!gr_ident_localpart_new(m->name) || a->user.size > GR_IDENT_MAX)
        err = gr_fail(GR_INVALID_USERNAME, "A user name has only a-z 0-9 . _ = - / + and, with the server's name, 255 bytes");
    if (gr_failed(err)) {
        gr_login_fail(l, ctx, err);
        return;
    }
    if (m->password_hash.size) {
        make_account(l, ctx, m->password_hash);
        return;
    }
    a->new_password = gr_arena_str(a->arena, m->password);
    hash_password(l, ctx, a->new_password);
}

/* The edge has checked that the user is the application service's own. */
void gr_login_on_appservice(gr_login *l, const gr_login_appservice *m, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    gr_user_create create = {.appservice = m->appservice, .key = l->id};
    a->user = gr_arena_str(a->arena, m->user);
    a->device = gr_arena_str(a->arena, m->device);
    a->display_name = gr_arena_str(a->arena, m->display_name);
    a->refreshable = m->refreshable;
    a->inhibit_login = m->inhibit_login;
    a->ip = gr_arena_str(a->arena, m->ip);
    a->agent = gr_arena_str(a->arena, m->agent);
    if (m->make) gr_login_ask_user(l, ctx, a->user, STEP_CREATE, &gr_type_user_create, &create);
    else gr_login_make_tokens(l, ctx);
}

void gr_login_on_guest(gr_login *l, const gr_login_guest *m, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    gr_user_create create = {.guest = true, .key = l->id};
    a->display_name = gr_arena_str(a->arena, m->display_name);
    a->ip = gr_arena_str(a->arena, m->ip);
    a->agent = gr_arena_str(a->arena, m->agent);
    choose_name(l, ctx);
    gr_login_ask_user(l, ctx, a->user, STEP_CREATE, &gr_type_user_create, &create);
}

/* Registration, or a new password, for the attempt's user. */
static void act_with_password(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    bool is_register = gr_str_is(a->action, "register");
    gr_str password = gr_json_text(a->request, is_register ? "password" : "new_password");
    gr_err err = password.size ? check_password(l, ctx, password)
               : gr_fail(GR_MISSING_PARAM, is_register ? "Missing 'password'" : "Missing 'new_password'");
    if (gr_failed(err)) {
        gr_login_session_over(ctx);
        gr_login_fail(l, ctx, err);
        return;
    }
    a->new_password = password;
    a->logout_devices = gr_json_boolean(gr_json_get(a->request, "logout_devices"), true);
    hash_password(l, ctx, password);
}

/* The address is claimed before the account is made, and freed if that fails: no two accounts get the same. */
static void claim_email(gr_login *l, gr_ctx *ctx)
{
    const login_attempt *a = l->attempt;
    gr_arena *arena = gr_ctx_arena(ctx);
    gr_name_claim claim = {.holder = a->user,
                           .value = gr_arena_printf(arena, "{\"user_id\":\"%" GR_FMT "\"}", GR_ARG(a->user))};
    gr_ctx_ask(ctx, gr_mail_name(arena, a->email), &gr_type_name_claim, &claim, GR_LOGIN_ASK_MS,
               &(gr_resume){.step = STEP_CLAIM});
}

static void on_claimed(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    if (!gr_failed(m->err)) {
        act_with_password(l, ctx);
        return;
    }
    if (m->err.code != GR_USER_IN_USE) {
        gr_login_fail(l, ctx, m->err);
        return;
    }
    gr_login_session_over(ctx);
    gr_login_fail(l, ctx, gr_fail(GR_THREEPID_IN_USE, "This email address belongs to an account already"));
}

/* Whose password it is that the mail was about. */
static void on_holder(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    l->attempt->user = gr_login_holder(l, m);
    if (l->attempt->user.size) act_with_password(l, ctx);
    else gr_login_fail(l, ctx, gr_fail(GR_THREEPID_NOT_FOUND, "This email address belongs to no account any more"));
}

void gr_login_act(gr_login *l, gr_ctx *ctx)
{
    login_attempt *a = l->attempt;
    bool is_register = gr_str_is(a->action, "register"), is_password = gr_str_is(a->action, "password");
    if (is_register) choose_name(l, ctx);
    if (is_register && a->email.size) {
        claim_email(l, ctx);
    } else if (is_password && a->asked_by.size == 0) {
        gr_login_ask_holder(l, ctx, a->email, STEP_HOLDER);
    } else if (is_register || is_password) {
        act_with_password(l, ctx);
    } else {
        gr_ctx_answer(ctx, &a->asker, &gr_type_login_passed, &(gr_login_passed){0});
        gr_login_end(l);
    }
}

static void on_hashed(gr_login *l, const gr_work_done *done, gr_ctx *ctx)
{
    const login_attempt *a = l->attempt;
    gr_user_password set = {.password_hash = done->output, .logout_devices = a->logout_devices, .keep = a->device};
    bool is_new = a->is_account || gr_str_is(a->action, "register");
    if (is_new) make_account(l, ctx, done->output);
    else gr_login_ask_user(l, ctx, a->user, STEP_SET, &gr_type_user_password, &set);
}

/* Another name may be tried, with the same address. */
static void give_up_name(gr_login *l, gr_ctx *ctx)
{
    const login_attempt *a = l->attempt;
    gr_login_session_over(ctx);
    gr_name_release release = {.holder = a->user};
    if (a->email.size) gr_ctx_post(ctx, gr_mail_name(gr_ctx_arena(ctx), a->email), &gr_type_name_release, &release);
}

/* The account is there: tokens, unless the client wants none yet. */
static void let_in(gr_login *l, gr_ctx *ctx)
{
    gr_buf out = {0};
    if (!l->attempt->inhibit_login) {
        gr_login_make_tokens(l, ctx);
        return;
    }
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "user_id", l->attempt->user);
    gr_jw_kstr(&w, "home_server", gr_env_of(ctx)->server_name);
    gr_jw_end_object(&w);
    gr_login_answer_json(l, ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}

static void on_created(gr_login *l, const gr_msg *m, gr_ctx *ctx)
{
    if (gr_failed(m->err)) {
        if (m->err.code == GR_USER_IN_USE) give_up_name(l, ctx);
        gr_login_fail(l, ctx, m->err);
        return;
    }
    if (l->attempt->is_account && !l->attempt->log_in) {
        gr_ctx_answer(ctx, &l->attempt->asker, &gr_type_login_account_made, &(gr_login_account_made){.user = l->attempt->user});
        gr_login_end(l);
        return;
    }
    if (l->attempt->email.size) {
        gr_user_threepid_put put = {.medium = GR_STR("email"), .address = l->attempt->email, .language = l->attempt->language,
                                    .validated_ms = gr_ctx_now_ms(ctx)};
        gr_login_ask_user(l, ctx, l->attempt->user, STEP_ADDRESS, &gr_type_user_threepid_put, &put);
        return;
    }
    let_in(l, ctx);
}

void gr_login_act_step(gr_login *l, login_step step, const gr_msg *m, gr_ctx *ctx)
{
    switch (step) {
    case STEP_HASH: on_hashed(l, m->body, ctx); return;
    case STEP_CREATE: on_created(l, m, ctx); return;
    case STEP_CLAIM: on_claimed(l, m, ctx); return;
    case STEP_HOLDER: on_holder(l, m, ctx); return;
    case STEP_ADDRESS: let_in(l, ctx); return;
    case STEP_SET: gr_login_answer_json(l, ctx, GR_STR("{}")); return;
    default: gr_assert(false);
    }
}
