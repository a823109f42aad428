/* filters.c - filters that a user keeps. See user.h; client-server API, "Filtering".
 *
 * The id is a hash of the filter: the same filter has the same id, and putting it again writes nothing.
 */
#include "actors/user/data.h"

#include "proto/base64.h"
#include "proto/filter.h"
#include "proto/sha256.h"

enum { ID_BYTES = 12 }; /* 16 characters */

static gr_str id_of(gr_arena *a, gr_str filter)
{
    unsigned char hash[GR_SHA256_SIZE];
    gr_sha256(filter.ptr, filter.size, hash);
    return gr_base64_url(a, gr_str_of(hash, ID_BYTES));
}

void gr_user_on_filter_put(gr_user *u, const gr_user_filter_put *m, gr_ctx *ctx)
{
    gr_arena *a = gr_ctx_arena(ctx);
    const gr_json *filter = NULL;
    gr_str stored;
    (void)u;
    gr_err err =
        m->filter.size > GR_USER_FILTER_MAX ? gr_fail(GR_TOO_LARGE, "A filter has at most 64 KiB") : gr_ok();
    if (!gr_failed(err)) err = gr_json_parse(a, m->filter, GR_JSON_LAX, &filter);
    if (!gr_failed(err)) err = gr_filter_check(a, filter);
    if (gr_failed(err)) {
        gr_ctx_fail(ctx, err);
        return;
    }
    gr_str text = gr_json_printed(a, filter), id = id_of(a, text), key = gr_user_key(ctx, 'f', id);
    if (!gr_ctx_get(ctx, key, &stored)) gr_ctx_put(ctx, key, text);
    gr_ctx_json(ctx, gr_arena_printf(a, "{\"filter_id\":\"%.*s\"}", GR_ARG(id)));
}

void gr_user_on_filter_get(gr_user *u, const gr_user_filter_get *m, gr_ctx *ctx)
{
    gr_str filter;
    (void)u;
    if (gr_ctx_get(ctx, gr_user_key(ctx, 'f', m->filter_id), &filter)) gr_ctx_json(ctx, filter);
    else gr_ctx_fail(ctx, gr_fail(GR_NOT_FOUND, "There is no such filter"));
}
