/* account_data.c - account data and tags of rooms. See user.h; client-server API, "Client Config", "Room
 * Tagging".
 *
 * A row holds the position of its change and the JSON; the row "G <position>" of an older change is deleted
 * by the next one, so what changed after a position is what those rows name.
 */
#include "actors/user/data.h"

#include "proto/json.h"
#include "proto/push.h"

enum { POSITION_SIZE = 8 };

/* room 0 type, as both rows name it */
static gr_str name_of(gr_ctx *ctx, gr_str room_id, gr_str type)
{
    return gr_arena_cat(gr_ctx_arena(ctx), 3, (gr_str[]){room_id, {"\0", 1}, type});
}

static gr_str content_of(gr_ctx *ctx, gr_str room_id, gr_str type, uint64_t *position)
{
    gr_str row;
    *position = 0;
    if (!gr_ctx_get(ctx, gr_user_key2(ctx, 'g', room_id, type), &row) || row.size < POSITION_SIZE)
        return (gr_str){0};
    *position = gr_u64be(row.ptr);
    return gr_str_from(row, POSITION_SIZE);
}

/* Changes of one moment share its position. */
static gr_str changed_key(gr_ctx *ctx, uint64_t position, gr_str room_id, gr_str type)
{
    gr_str parts[] = {gr_user_key_number(ctx, 'G', position), name_of(ctx, room_id, type)};
    return gr_arena_cat(gr_ctx_arena(ctx), 2, parts);
}

static void store(gr_user *u, gr_ctx *ctx, gr_str room_id, gr_str type, gr_str content)
{
    uint64_t before;
    gr_buf row = {0};
    content_of(ctx, room_id, type, &before);
    if (before) gr_ctx_del(ctx, changed_key(ctx, before, room_id, type));
    gr_buf_u64be(&row, gr_ctx_position(ctx));
    gr_buf_str(&row, content);
    gr_ctx_put(ctx, gr_user_key2(ctx, 'g', room_id, type), gr_buf_view(&row));
    gr_ctx_put(ctx, changed_key(ctx, gr_ctx_position(ctx), room_id, type), name_of(ctx, room_id, type));
    gr_buf_free(&row);
    gr_user_changed(u, ctx);
}

/* --- account data
 * -------------------------------------------------------------------------------------------- */
static gr_err check(gr_str type, gr_str content)
{
    if (type.size == 0 || type.size > GR_USER_DATA_TYPE_MAX || gr_str_find(type, 0) >= 0)
        return gr_fail(GR_INVALID_PARAM, "The type of account data has 1 to 255 bytes");
    if (gr_str_is(type, "m.push_rules"))
        return gr_fail(GR_BAD_JSON, "Push rules are changed through /pushrules");
    if (content.size > GR_USER_DATA_MAX)
        return gr_fail(GR_TOO_LARGE, "Account data of one type has at most 256 KiB");
    return gr_ok();
}

void gr_user_on_account_data_put(gr_user *u, const gr_user_account_data_put *m, gr_ctx *ctx)
{
    const gr_json *content = NULL;
    gr_err err = check(m->type, m->content);
    if (!gr_failed(err)) err = gr_json_parse(gr_ctx_arena(ctx), m->content, GR_JSON_LAX, &content);
    if (!gr_failed(err) && !gr_json_is(content, GR_JSON_OBJECT))
        err = gr_fail(GR_BAD_JSON, "Account data must be an object");
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    store(u, ctx, m->room_id, m->type, gr_json_printed(gr_ctx_arena(ctx), content));
    gr_ctx_done(ctx);
}

void gr_user_on_account_data_get(gr_user *u, const gr_user_account_data_get *m, gr_ctx *ctx)
{
    uint64_t position;
    gr_str content = content_of(ctx, m->room_id, m->type, &position);
    if (m->room_id.size == 0 && gr_str_is(m->type, "m.push_rules")) {
        gr_err err =
            gr_push_json(gr_ctx_arena(ctx), u->id, gr_user_push_rules(ctx, &position), (gr_str){0}, &content);
        if (gr_failed(err)) gr_ctx_fail(ctx, err);
        else gr_ctx_json(ctx, content);
    } else if (content.size) {
        gr_ctx_json(ctx, content);
    } else {
        gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no account data of this type"));
    }
}

/* --- tags: one object of account data
 * ------------------------------------------------------------------------ */
static const gr_json *tags_of(gr_ctx *ctx, gr_str room_id)
{
    uint64_t position;
    const gr_json *content = NULL;
    gr_str text = content_of(ctx, room_id, GR_STR("m.tag"), &position);
    if (text.size == 0 || gr_failed(gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &content)))
        return NULL;
    const gr_json *tags = gr_json_get(content, "tags");
    return gr_json_is(tags, GR_JSON_OBJECT) ? tags : NULL;
}

/* All tags but one, and that one anew when content is not empty. */
static gr_str tags_with(gr_ctx *ctx, const gr_json *tags, gr_str tag, gr_str content)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_key(&w, "tags");
    gr_jw_object(&w);
    for (uint32_t i = 0; tags && i < tags->count; i++) {
        if (tag.size && gr_str_eq(tags->members[i].key, tag)) continue;
        gr_jw_key_str(&w, tags->members[i].key);
        gr_jw_json(&w, &tags->members[i].value);
    }
    if (content.size) {
        gr_jw_key_str(&w, tag);
        gr_jw_raw(&w, content);
    }
    gr_jw_end_object(&w);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

void gr_user_on_tag_put(gr_user *u, const gr_user_tag_put *m, gr_ctx *ctx)
{
    const gr_json *content = NULL;
    if (m->tag.size == 0 || m->tag.size > GR_USER_TAG_MAX) {
        gr_ctx_fail(ctx, gr_fail(GR_INVALID_PARAM, "The name of a tag has 1 to 255 bytes"));
        return;
    }
    gr_err err = gr_json_parse(gr_ctx_arena(ctx), m->content, GR_JSON_LAX, &content);
    const gr_json *order = gr_json_get(content, "order");
    bool numbered = !order || gr_json_is(order, GR_JSON_INT) || gr_json_is(order, GR_JSON_REAL);
    if (!gr_failed(err) && (!gr_json_is(content, GR_JSON_OBJECT) || !numbered))
        err = gr_fail(GR_BAD_JSON, "A tag is an object whose 'order', if any, is a number");
    gr_str all = {0};
    if (!gr_failed(err))
        all = tags_with(ctx, tags_of(ctx, m->room_id), m->tag, gr_json_printed(gr_ctx_arena(ctx), content));
    if (!gr_failed(err)) err = check(GR_STR("m.tag"), all);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    store(u, ctx, m->room_id, GR_STR("m.tag"), all);
    gr_ctx_done(ctx);
}

/* A tag that is not there is gone already. */
void gr_user_on_tag_delete(gr_user *u, const gr_user_tag_delete *m, gr_ctx *ctx)
{
    const gr_json *tags = tags_of(ctx, m->room_id);
    if (gr_json_get_str(tags, m->tag))
        store(u, ctx, m->room_id, GR_STR("m.tag"), tags_with(ctx, tags, m->tag, (gr_str){0}));
    gr_ctx_done(ctx);
}

void gr_user_on_tag_list(gr_user *u, const gr_user_tag_list *m, gr_ctx *ctx)
{
    (void)u;
    gr_ctx_json(ctx, tags_with(ctx, tags_of(ctx, m->room_id), (gr_str){0}, (gr_str){0}));
}

void gr_user_account_data_move(gr_user *u, gr_ctx *ctx, gr_str type, gr_str from, gr_str to)
{
    uint64_t position;
    gr_str content = content_of(ctx, from, type, &position);
    bool there = content_of(ctx, to, type, &position).size > 0;
    if (content.size && !there) store(u, ctx, to, type, content);
}

/* m.direct: user -> rooms.  Wherever one room is listed the other is added. */
void gr_user_account_data_direct(gr_user *u, gr_ctx *ctx, gr_str room_id, gr_str added)
{
    uint64_t position;
    const gr_json *content = NULL;
    bool changed = false;
    gr_str text = content_of(ctx, (gr_str){0}, GR_STR("m.direct"), &position);
    if (text.size == 0 || gr_failed(gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &content))) return;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    for (uint32_t i = 0; gr_json_is(content, GR_JSON_OBJECT) && i < content->count; i++) {
        const gr_json *rooms = &content->members[i].value;
        bool had = false, has = false;
        gr_jw_key_str(&w, content->members[i].key);
        if (!gr_json_is(rooms, GR_JSON_ARRAY)) {
            gr_jw_json(&w, rooms);
            continue;
        }
        gr_jw_array(&w);
        for (uint32_t k = 0; k < rooms->count; k++) {
            had = had || gr_str_eq(gr_json_string(&rooms->items[k]), room_id);
            has = has || gr_str_eq(gr_json_string(&rooms->items[k]), added);
            gr_jw_json(&w, &rooms->items[k]);
        }
        if (had && !has) gr_jw_str(&w, added);
        changed = changed || (had && !has);
        gr_jw_end_array(&w);
    }
    gr_jw_end_object(&w);
    if (changed) store(u, ctx, (gr_str){0}, GR_STR("m.direct"), gr_buf_view(&out));
    gr_buf_free(&out);
}

/* --- for /sync
 * ------------------------------------------------------------------------------------------------ */
typedef struct {
    gr_ctx *ctx;
    gr_buf *global;
    uint64_t after;                    /* of the global ones */
    gr_user_room_data_fn *room_data;
    void *arg;
} walk;

static gr_str event_of(gr_ctx *ctx, gr_str type, gr_str content)
{
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kraw(&w, "content", content);
    gr_jw_kstr(&w, "type", type);
    gr_jw_end_object(&w);
    gr_str text = gr_arena_str(gr_ctx_arena(ctx), gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

static void give(walk *w, gr_str room_id, gr_str type, gr_str content, uint64_t position)
{
    gr_str event = event_of(w->ctx, type, content);
    if (room_id.size) {
        w->room_data(w->arg, room_id, position, event);
        return;
    }
    if (position <= w->after) return;
    if (w->global->size) gr_buf_char(w->global, ',');
    gr_buf_str(w->global, event);
}

static bool give_row(void *arg, gr_str key, gr_str value)
{
    gr_str name = gr_str_from(key, 1);
    ptrdiff_t nul = gr_str_find(name, 0);
    if (nul < 0 || value.size < POSITION_SIZE) return true;
    give(arg, gr_str_head(name, (size_t)nul), gr_str_from(name, (size_t)nul + 1),
         gr_str_from(value, POSITION_SIZE), gr_u64be(value.ptr));
    return true;
}

static bool give_changed(void *arg, gr_str key, gr_str name)
{
    walk *w = arg;
    ptrdiff_t nul = gr_str_find(name, 0);
    uint64_t position;
    (void)key;
    if (nul < 0) return true;
    gr_str room_id = gr_arena_str(gr_ctx_arena(w->ctx), gr_str_head(name, (size_t)nul));
    gr_str type = gr_arena_str(gr_ctx_arena(w->ctx), gr_str_from(name, (size_t)nul + 1));
    gr_str content = content_of(w->ctx, room_id, type, &position);
    if (content.size) give(w, room_id, type, content, position);
    return true;
}

static void give_push_rules(walk *w, bool initial, uint64_t after)
{
    uint64_t position;
    gr_str json, user = gr_address_id(gr_ctx_self(w->ctx)), stored = gr_user_push_rules(w->ctx, &position);
    if (!initial && position <= after) return;
    if (!gr_failed(gr_push_json(gr_ctx_arena(w->ctx), user, stored, (gr_str){0}, &json)))
        give(w, (gr_str){0}, GR_STR("m.push_rules"), json, UINT64_MAX);
}

void gr_user_account_data_after(gr_ctx *ctx, bool initial, uint64_t after, uint64_t rooms_after, gr_buf *global,
                                gr_user_room_data_fn *room_data, void *arg)
{
    walk w = {ctx, global, after, room_data, arg};
    give_push_rules(&w, initial, after);
    if (after == 0) gr_ctx_scan_prefix(ctx, GR_STR("g"), 0, give_row, &w);
    else gr_ctx_scan(ctx, gr_user_key_number(ctx, 'G', rooms_after + 1), GR_STR("H"), false, 0, give_changed, &w);
}

void gr_user_account_data_of_room(gr_ctx *ctx, gr_str room_id, gr_user_room_data_fn *room_data, void *arg)
{
    walk w = {ctx, NULL, 0, room_data, arg};
    gr_ctx_scan_prefix(ctx, gr_user_key2(ctx, 'g', room_id, GR_STR("")), 0, give_row, &w);
}

gr_strs gr_user_ignored_list(gr_ctx *ctx)
{
    uint64_t position;
    const gr_json *content = NULL;
    gr_strs out = {0};
    gr_str text = content_of(ctx, (gr_str){0}, GR_STR("m.ignored_user_list"), &position);
    if (text.size == 0 || gr_failed(gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &content)))
        return out;
    const gr_json *users = gr_json_get(content, "ignored_users");
    if (!gr_json_is(users, GR_JSON_OBJECT)) return out;
    out.at = gr_arena_alloc(gr_ctx_arena(ctx), users->count * sizeof(gr_str) + 1);
    for (uint32_t i = 0; i < users->count; i++) out.at[out.count++] = users->members[i].key;
    return out;
}

/* Client-server API, "Invite permission". */
bool gr_user_blocks_invites(gr_ctx *ctx)
{
    uint64_t position;
    const gr_json *content = NULL;
    gr_str text = content_of(ctx, (gr_str){0}, GR_STR("m.invite_permission_config"), &position);
    return text.size && !gr_failed(gr_json_parse(gr_ctx_arena(ctx), text, GR_JSON_LAX, &content))
        && gr_str_is(gr_json_text(content, "default_action"), "block");
}

void gr_user_on_ignored(gr_ctx *ctx)
{
    gr_ctx_reply(ctx, &gr_type_user_ignored, &(gr_user_ignored){.users = gr_user_ignored_list(ctx)});
}
