/* cross_signing.c - master, self-signing and user-signing keys, and signatures on keys. See keys.h.
 *
 * Client-server API, "Cross-signing".  A signature is checked when the key that made it is known: one of this user's
 * cross-signing keys, or the Ed25519 key of one of their devices.  Signatures on one's own keys are kept with those keys;
 * signatures on the master keys of others are kept with the signer, the only one who may see them.
 */
#include "actors/user/keys.h"

#include "proto/ident.h"
#include "proto/sign.h"

enum { MASTER, SELF_SIGNING, USER_SIGNING, USAGES };

static const char *const usages[USAGES] = {"master", "self_signing", "user_signing"};
static const char *const members[USAGES] = {"master_key", "self_signing_key", "user_signing_key"};

/* What is known of the user's keys. */
typedef struct {
    const gr_user *user;
    gr_ctx *ctx;
    const gr_json *stored[USAGES]; /* NULL: none */
    gr_str names[USAGES];          /* public keys in base64; empty: not to be used */
    bool devices;                  /* device keys count too */
} known_keys;

/* --- keys -------------------------------------------------------------------------------------------------- */
/* The public key of a cross-signing key, in base64: also its name.  Empty when it is no such key. */
static gr_str public_of(const gr_json *key)
{
    const gr_json *keys = gr_json_get(key, "keys");
    if (!gr_json_is(keys, GR_JSON_OBJECT) || keys->count != 1) return (gr_str){0};
    const gr_json_member *m = &keys->members[0];
    gr_str value = gr_json_string(&m->value);
    bool same = gr_str_starts(m->key, GR_STR("ed25519:")) && gr_str_eq(gr_str_from(m->key, 8), value);
    return same ? value : (gr_str){0};
}

static void load(known_keys *k)
{
    gr_str text;
    for (int i = 0; i < USAGES; i++) {
        if (!gr_ctx_get(k->ctx, gr_keys_row(k->ctx, 'x', gr_str_c(usages[i])), &text)) continue;
        if (gr_failed(gr_json_parse(gr_ctx_arena(k->ctx), text, GR_JSON_LAX, &k->stored[i])))
            k->stored[i] = NULL;
        k->names[i] = public_of(k->stored[i]);
    }
}

static const gr_json *device_keys(gr_ctx *ctx, gr_str device)
{
    gr_str text;
    const gr_json *keys = NULL;
    if (!gr_ident_device(device) || !gr_ctx_get(ctx, gr_keys_row(ctx, 'd', device), &text)) return NULL;
    return gr_failed(gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &keys)) ? NULL : keys;
}

/* A gr_key_ring over known_keys. */
static bool find_key(void *arg, gr_str entity, gr_str key_id, int64_t ts,
                     unsigned char public_key[GR_SIGN_PUBLIC])
{
    known_keys *k = arg;
    gr_str name = gr_str_from(key_id, 8), text = {0}, raw;
    (void)ts;
    if (!gr_str_eq(entity, k->user->id) || !gr_str_starts(key_id, GR_STR("ed25519:")) || name.size == 0)
        return false;
    for (int i = 0; i < USAGES; i++)
        if (gr_str_eq(k->names[i], name)) text = name;
    if (text.size == 0 && k->devices)
        text = gr_json_string(gr_json_get_str(gr_json_get(device_keys(k->ctx, name), "keys"), key_id));
    if (text.size == 0 || !gr_sign_decode(gr_ctx_arena(k->ctx), text, GR_SIGN_PUBLIC, &raw)) return false;
    memcpy(public_key, raw.ptr, GR_SIGN_PUBLIC);
    return true;
}

/* The same key, whatever its signatures. */
static bool same_key(gr_ctx *ctx, const gr_json *a, const gr_json *b)
{
    return a && b && gr_str_eq(gr_sign_text(gr_ctx_arena(ctx), a), gr_sign_text(gr_ctx_arena(ctx), b));
}

/* --- upload ------------------------------------------------------------------------------------------------ */
static gr_err check_form(const gr_user *u, gr_ctx *ctx, const gr_json *key, int usage)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *list = gr_json_get(key, "usage");
    gr_str name = public_of(key), raw;
    bool has_usage = false;
    if (!gr_json_is(key, GR_JSON_OBJECT))
        return gr_failf(a, GR_BAD_JSON, "'%s' must be an object", members[usage]);
    if (!gr_str_eq(gr_json_text(key, "user_id"), u->id))
        return gr_failf(a, GR_INVALID_PARAM, "'user_id' in '%s' is not the user who uploads", members[usage]);
    for (uint32_t i = 0; gr_json_is(list, GR_JSON_ARRAY) && i < list->count; i++)
        if (gr_str_is(gr_json_string(&list->items[i]), usages[usage])) has_usage = true;
    if (!has_usage)
        return gr_failf(a, GR_INVALID_PARAM, "'usage' in '%s' must have '%s'", members[usage], usages[usage]);
    if (!gr_sign_decode(a, name, GR_SIGN_PUBLIC, &raw))
        return gr_failf(a, GR_INVALID_PARAM, "'keys' in '%s' must be one Ed25519 key under its own name",
                        members[usage]);
    if (gr_keys_has_device(ctx, name))
        return gr_fail(GR_FORBIDDEN, "One of your devices has the id of this key");
    if (gr_json_printed(a, key).size > GR_DEVICE_KEYS_MAX)
        return gr_failf(a, GR_TOO_LARGE, "'%s' is too large", members[usage]);
    return gr_ok();
}

static gr_err read_upload(gr_user *u, gr_ctx *ctx, gr_str text, const known_keys *known,
                          const gr_json *given[USAGES])
{
    const gr_json *body = NULL;
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &body);
    for (int i = 0; i < USAGES && !gr_failed(err); i++) {
        given[i] = gr_json_get(body, members[i]);
        if (gr_json_is(given[i], GR_JSON_NULL)) given[i] = NULL;
        if (given[i]) err = check_form(u, ctx, given[i], i);
    }
    if (gr_failed(err)) return err;
    const gr_json *master = given[MASTER] ? given[MASTER] : known->stored[MASTER];
    if (!master) return gr_fail(GR_MISSING_PARAM, "Upload a master signing key first, or with the others");
    known_keys only_master = {.user = u, .ctx = ctx, .names = {[MASTER] = public_of(master)}};
    gr_key_ring ring = {find_key, &only_master, NULL};
    for (int i = SELF_SIGNING; i < USAGES; i++)
        if (given[i] && gr_failed(gr_sign_check_json(gr_ctx_arena(ctx), &ring, given[i], u->id, 0)))
            return gr_failf(gr_ctx_arena(ctx), GR_INVALID_SIGNATURE,
                            "'%s' is not signed by the master signing key", members[i]);
    return gr_ok();
}

static void put_key(gr_ctx *ctx, int usage, const gr_json *key)
{
    static const char *const left_out[] = {"unsigned", NULL};
    gr_buf text = {0};
    gr_json_print_without(&text, key, left_out);
    gr_ctx_put(ctx, gr_keys_row(ctx, 'x', gr_str_c(usages[usage])), gr_buf_view(&text));
    gr_buf_free(&text);
}

/* Keys that are there already keep the signatures they have gathered; those that an earlier master key signed go with it. */
static bool put_keys(gr_ctx *ctx, const known_keys *known, const gr_json *const given[USAGES])
{
    bool changed = false, new_master = given[MASTER] && !same_key(ctx, given[MASTER], known->stored[MASTER]);
    for (int i = 0; i < USAGES; i++) {
        bool same = same_key(ctx, given[i], known->stored[i]);
        if (given[i] && (!same || (new_master && i != MASTER))) {
            put_key(ctx, i, given[i]);
            changed = true;
        } else if (!given[i] && new_master && known->stored[i]) {
            gr_ctx_del(ctx, gr_keys_row(ctx, 'x', gr_str_c(usages[i])));
            changed = true;
        }
    }
    return changed;
}

void gr_cross_signing_on_upload(gr_user *u, const gr_user_cross_signing *m, gr_ctx *ctx)
{
    known_keys known = {.user = u, .ctx = ctx};
    const gr_json *given[USAGES] = {NULL};
    bool nothing_new = true;
    load(&known);
    gr_err err = read_upload(u, ctx, m->body, &known, given);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    for (int i = 0; i < USAGES; i++)
        if (given[i] && !same_key(ctx, given[i], known.stored[i])) nothing_new = false;
    if (known.stored[MASTER] && !nothing_new && !m->is_authenticated) {
        gr_ctx_reply(ctx, &gr_type_user_auth_needed, &(gr_user_auth_needed){0});
        return;
    }
    bool changed = put_keys(ctx, &known, given);
    gr_ctx_done(ctx);
    if (changed) gr_keys_tell_signing(ctx);
    if (changed) gr_keys_announce(u, ctx);
}

/* --- signatures -------------------------------------------------------------------------------------------- */
/* Signatures of this user on the object, by keys that are known; a wrong one is an error, and so is none at all. */
static gr_err check_signatures(known_keys *known, const gr_json *object, const gr_json *base,
                               const gr_json_member **right, size_t *right_count)
{
    gr_arena *a = gr_ctx_arena(known->ctx);
    const gr_json *made = gr_json_get_str(gr_json_get(object, "signatures"), known->user->id);
    gr_key_ring ring = {find_key, known, NULL};
    unsigned char public_key[GR_SIGN_PUBLIC];
    *right_count = 0;
    if (!base) return gr_fail(GR_NOT_FOUND, "There is no such key");
    if (!same_key(known->ctx, object, base))
        return gr_fail(GR_INVALID_SIGNATURE, "This is not the key that was uploaded");
    if (!gr_json_is(made, GR_JSON_OBJECT) || made->count > 16)
        return gr_fail(GR_INVALID_SIGNATURE, "There is no signature of yours");
    *right = gr_arena_alloc(a, made->count * sizeof **right);
    gr_str message = gr_sign_text(a, object);
    for (uint32_t i = 0; i < made->count; i++) {
        if (!find_key(known, known->user->id, made->members[i].key, 0, public_key)) continue;
        if (!gr_sign_verify(a, &ring, public_key, message, gr_json_string(&made->members[i].value)))
            return gr_fail(GR_INVALID_SIGNATURE, "The signature is wrong");
        ((gr_json_member *)*right)[(*right_count)++] = made->members[i];
    }
    return *right_count ? gr_ok() : gr_fail(GR_INVALID_SIGNATURE, "No key is known that made this signature");
}

static void write_signatures(gr_jw *w, const gr_json *before, const gr_json_member *more, size_t count)
{
    gr_jw_object(w);
    for (uint32_t i = 0; before && before->kind == GR_JSON_OBJECT && i < before->count; i++) {
        bool replaced = false;
        for (size_t k = 0; k < count; k++) replaced |= gr_str_eq(before->members[i].key, more[k].key);
        if (replaced) continue;
        gr_jw_key_str(w, before->members[i].key);
        gr_jw_json(w, &before->members[i].value);
    }
    for (size_t k = 0; k < count; k++) {
        gr_jw_key_str(w, more[k].key);
        gr_jw_json(w, &more[k].value);
    }
    gr_jw_end_object(w);
}

/* Stores base with more signatures of this user. */
static void put_signed(gr_ctx *ctx, gr_str row, const gr_json *base, gr_str user, const gr_json_member *more,
                       size_t count)
{
    const gr_json *signatures = gr_json_get(base, "signatures");
    gr_buf text = {0};
    gr_jw w = gr_jw_begin(&text);
    gr_jw_object(&w);
    for (uint32_t i = 0; i < base->count; i++) {
        if (gr_str_is(base->members[i].key, "signatures")) continue;
        gr_jw_key_str(&w, base->members[i].key);
        gr_jw_json(&w, &base->members[i].value);
    }
    gr_jw_key(&w, "signatures");
    gr_jw_object(&w);
    for (uint32_t i = 0; signatures && i < signatures->count; i++) {
        if (gr_str_eq(signatures->members[i].key, user)) continue;
        gr_jw_key_str(&w, signatures->members[i].key);
        gr_jw_json(&w, &signatures->members[i].value);
    }
    gr_jw_key_str(&w, user);
    write_signatures(&w, gr_json_get_str(signatures, user), more, count);
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_ctx_put(ctx, row, gr_buf_view(&text));
    gr_buf_free(&text);
}

/* A device of one's own, or one's own master key. */
static gr_err sign_own(known_keys *known, gr_str key_id, const gr_json *object)
{
    gr_ctx *ctx = known->ctx;
    bool is_master = known->names[MASTER].size && gr_str_eq(key_id, known->names[MASTER]);
    gr_str row = is_master ? gr_keys_row(ctx, 'x', GR_STR("master")) : gr_keys_row(ctx, 'd', key_id);
    const gr_json *base = is_master ? known->stored[MASTER] : device_keys(ctx, key_id);
    const gr_json_member *right;
    size_t count;
    gr_err err = check_signatures(known, object, base, &right, &count);
    if (gr_failed(err)) return err;
    put_signed(ctx, row, base, known->user->id, right, count);
    if (is_master) gr_keys_tell_signing(ctx);
    else gr_keys_tell_device(ctx, key_id);
    return gr_ok();
}

/* The master key of somebody else, signed by one's own user-signing key. */
static gr_err sign_other(known_keys *known, gr_str user, gr_str key_id, const gr_json *object,
                         const gr_json *master)
{
    gr_ctx *ctx = known->ctx;
    known_keys own = {
        .user = known->user, .ctx = ctx, .names = {[USER_SIGNING] = known->names[USER_SIGNING]}};
    const gr_json_member *right;
    size_t count;
    if (!master || !gr_str_eq(public_of(master), key_id))
        return gr_fail(GR_NOT_FOUND, "That is not the master key of this user");
    gr_err err = check_signatures(&own, object, master, &right, &count);
    if (gr_failed(err)) return err;
    gr_buf text = {0};
    gr_jw w = gr_jw_begin(&text);
    write_signatures(&w, NULL, right, count);
    gr_ctx_put(ctx, gr_keys_row2(ctx, 's', user, key_id), gr_buf_view(&text));
    gr_buf_free(&text);
    gr_keys_note(ctx, user);
    return gr_ok();
}

static void write_failure(gr_jw *w, gr_str key_id, gr_err err)
{
    gr_jw_key_str(w, key_id);
    gr_jw_object(w);
    gr_jw_kc(w, "errcode", gr_errcode_wire(err.code));
    gr_jw_kc(w, "error", err.text);
    gr_jw_end_object(w);
}

typedef struct {
    gr_jw w;
    size_t signed_count;
    bool own_changed, noted;
} signing;

static void sign_for_user(known_keys *known, signing *s, gr_str user, const gr_json *objects,
                          const gr_json *masters)
{
    bool own = gr_str_eq(user, known->user->id), listed = false;
    for (uint32_t i = 0; gr_json_is(objects, GR_JSON_OBJECT) && i < objects->count; i++) {
        const gr_json_member *o = &objects->members[i];
        gr_err err = s->signed_count++ < GR_SIGN_MAX
                         ? gr_ok()
                         : gr_fail(GR_LIMIT_EXCEEDED, "Too many signatures at once");
        if (!gr_failed(err))
            err = own ? sign_own(known, o->key, &o->value)
                      : sign_other(known, user, o->key, &o->value, gr_json_get_str(masters, user));
        if (!gr_failed(err)) {
            *(own ? &s->own_changed : &s->noted) = true;
            continue;
        }
        if (!listed) {
            gr_jw_key_str(&s->w, user);
            gr_jw_object(&s->w);
            listed = true;
        }
        write_failure(&s->w, o->key, err);
    }
    if (listed) gr_jw_end_object(&s->w);
}

void gr_cross_signing_on_sign(gr_user *u, const gr_user_sign *m, gr_ctx *ctx)
{
    known_keys known = {.user = u, .ctx = ctx, .devices = true};
    const gr_json *body = NULL, *masters = NULL;
    gr_buf out = {0};
    signing s = {.w = gr_jw_begin(&out)};
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), m->body, GR_JSON_LAX, &body);
    if (!gr_failed(err) && m->masters.size)
        err = gr_json_parse(gr_ctx_arena(ctx), m->masters, GR_JSON_LAX, &masters);
    if (gr_failed(err) || !gr_json_is(body, GR_JSON_OBJECT)) {
        gr_ctx_fail(ctx, gr_failed(err) ? err : gr_fail(GR_BAD_JSON, "The body must be an object"));
        return;
    }
    load(&known);
    gr_jw_object(&s.w);
    for (uint32_t i = 0; i < body->count; i++)
        sign_for_user(&known, &s, body->members[i].key, &body->members[i].value, masters);
    gr_jw_end_object(&s.w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
    if (s.own_changed) gr_keys_announce(u, ctx);
    else if (s.noted) gr_user_changed(u, ctx);
}

typedef struct {
    gr_jw *w;
    size_t skip;
} listing;

static bool list_signature(void *arg, gr_str key, gr_str value)
{
    listing *l = arg;
    gr_jw_key_str(l->w, gr_str_from(key, l->skip));
    gr_jw_raw(l->w, value);
    return true;
}

void gr_cross_signing_on_signed(const gr_user_signed *m, gr_ctx *ctx)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (size_t i = 0; i < m->users.count && i < GR_SIGNED_USERS_MAX; i++) {
        gr_str prefix = gr_keys_row2(ctx, 's', m->users.at[i], (gr_str){0});
        gr_jw_key_str(&w, m->users.at[i]);
        gr_jw_object(&w);
        gr_ctx_scan_prefix(ctx, prefix, 4, list_signature, &(listing){&w, prefix.size});
        gr_jw_end_object(&w);
    }
    gr_jw_end_object(&w);
    gr_ctx_json(ctx, gr_buf_view(&out));
    gr_buf_free(&out);
}
