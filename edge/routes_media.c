/* routes_media.c - uploads and downloads. Client-Server API, "Content repository".
 *
 * The bytes go to the media store as they come, what is known of them to the media actor.  Media is only given to those with
 * a token; the old unauthenticated paths know nothing ("frozen media").
 */
#include "edge/edge.h"
#include "edge/log.h"
#include "edge/media_store.h"
#include "edge/routes.h"

#include "proto/ident.h"


#define MEDIA_V3 "/_matrix/media/(r0|v1|v3)"
#define CLIENT_V1 "/_matrix/client/v1/media"

enum { THUMBNAIL_MAX = 4 << 20, FILE_NAME_MAX = 255, TYPE_NAME_MAX = 255 };

/* --- uploads ----------------------------------------------------------------------------------------------- */
typedef struct { gr_str id, name; bool reserved; gr_media_upload *file; } upload;

static gr_str new_id(gr_call *call)
{
    return gr_call_new_id(call, GR_MEDIA_ID_SIZE * 3 / 4);
}

static void drop_upload(gr_call *call) { gr_media_upload_free(&((upload *)call->state)->file); }

static void begin_upload(gr_call *call, gr_str id, bool reserved)
{
    upload *u = gr_arena_alloc(call->arena, sizeof *u);
    *u = (upload){.id = id, .reserved = reserved};
    call->state = u;
    gr_call_query(call, "filename", &u->name);
    gr_err err = u->name.size > FILE_NAME_MAX ? gr_fail(GR_INVALID_PARAM, "'filename' is too long: at most 255 bytes") : gr_ok();
    if (!gr_failed(err) && call->content_type.size > TYPE_NAME_MAX) err = gr_fail(GR_INVALID_PARAM, "Content-Type is too long");
    if (!gr_failed(err)) err = gr_media_upload_new(id, &u->file);
    call->on_gone = drop_upload;
    if (gr_failed(err)) gr_call_fail(call, err);
}

static void serve_upload(gr_call *call) { begin_upload(call, new_id(call), false); }

static bool is_ours(const gr_call *call) { return gr_str_eq(gr_call_param(call, "serverName"), gr_call_server_name(call)); }

static void serve_upload_put(gr_call *call)
{
    gr_str id = gr_call_param(call, "mediaId");
    if (!is_ours(call)) gr_call_fail_with(call, GR_FORBIDDEN, "This media id belongs to another server");
    else if (!gr_media_id_valid(id)) gr_call_fail_with(call, GR_NOT_FOUND, "This media id was not reserved here");
    else begin_upload(call, id, true);
}

static void fail_upload(gr_call *call, gr_err err)
{
    drop_upload(call);
    gr_call_fail(call, err);
}

static void upload_piece(gr_call *call, gr_str piece)
{
    gr_err err = call->answered ? gr_ok() : gr_media_upload_add(((upload *)call->state)->file, piece);
    if (gr_failed(err)) fail_upload(call, err);
}

static void told_kept(gr_call *call, const gr_answer *answer)
{
    const upload *u = call->state;
    drop_upload(call);
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    if (!u->reserved) {
        gr_str server = gr_call_server_name(call);
        gr_jw_kstr(&w, "content_uri", gr_arena_printf(call->arena, "mxc://%" GR_FMT "/%" GR_FMT, GR_ARG(server), GR_ARG(u->id)));
    }
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static gr_str media_address(gr_call *call, gr_str id) { return gr_call_address(call, GR_KIND_MEDIA, id); }

static void keep_upload(gr_call *call)
{
    upload *u = call->state;
    gr_err err = gr_media_upload_keep(u->file);
    if (gr_failed(err)) {
        fail_upload(call, err);
        return;
    }
    gr_media_put put = {.user = call->user, .name = u->name, .size = gr_media_upload_size(u->file), .reserved = u->reserved,
                        .content_type = call->content_type.size ? call->content_type : GR_STR("application/octet-stream")};
    gr_call_ask(call, media_address(call, u->id), &gr_type_media_put, &put, told_kept);
}

/* Before the file gets the reserved name: is it this user's, and free? */
static void told_reserved(gr_call *call, const gr_answer *answer)
{
    const gr_media_is *is = answer->body;
    gr_err err = answer->err;
    if (!gr_failed(err) && !gr_str_eq(is->user, call->user))
        err = gr_fail(GR_FORBIDDEN, "This media id was reserved by another user");
    if (!gr_failed(err) && !is->missing) err = gr_fail(GR_CANNOT_OVERWRITE_MEDIA, "This media has been uploaded already");
    if (gr_failed(err)) fail_upload(call, err);
    else keep_upload(call);
}

static void upload_end(gr_call *call)
{
    const upload *u = call->state;
    if (call->answered) return;
    if (!u->reserved) keep_upload(call);
    else gr_call_ask(call, media_address(call, u->id), &gr_type_media_look, &(gr_media_look){0}, told_reserved);
}

static void told_created(gr_call *call, const gr_answer *answer)
{
    if (gr_failed(answer->err)) {
        gr_call_fail(call, answer->err);
        return;
    }
    gr_str server = gr_call_server_name(call), id = ((upload *)call->state)->id;
    gr_buf out = {0};
    gr_jw w = gr_jw_begin(&out);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "content_uri", gr_arena_printf(call->arena, "mxc://%" GR_FMT "/%" GR_FMT, GR_ARG(server), GR_ARG(id)));
    gr_jw_kint(&w, "unused_expires_at", (int64_t)(call->now_ms + 24 * 3600 * 1000));
    gr_jw_end_object(&w);
    gr_call_json_take(call, 200, &out);
}

static void serve_create(gr_call *call)
{
    upload *u = gr_arena_alloc(call->arena, sizeof *u);
    u->id = new_id(call);
    call->state = u;
    gr_call_ask(call, media_address(call, u->id), &gr_type_media_reserve, &(gr_media_reserve){.user = call->user}, told_created);
}

static void serve_config(gr_call *call)
{
    uint64_t size = gr_call_config(call)->media_max_upload;
    gr_call_json(call, 200, gr_arena_printf(call->arena, "{\"m.upload.size\":%llu}", (unsigned long long)size));
}

/* --- downloads --------------------------------------------------------------------------------------------- */
/* Types that a browser may show from this origin without being able to run anything: the specification's list. */
static bool is_inline(gr_str type)
{
    static const char *const safe[] = {
        "text/css", "text/plain", "text/csv", "application/json", "application/ld+json", "image/jpeg", "image/gif",
        "image/png", "image/apng", "image/webp", "image/avif", "video/mp4", "video/webm", "video/ogg", "video/quicktime",
        "audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav", "audio/x-wav",
        "audio/x-pn-wav", "audio/flac", "audio/x-flac"};
    ptrdiff_t end = gr_str_find(type, ';');
    if (end >= 0) type = gr_str_head(type, (size_t)end);
    while (type.size && type.ptr[type.size - 1] == ' ') type.size--;
    for (size_t i = 0; i < sizeof safe / sizeof safe[0]; i++)
        if (gr_str_is(type, safe[i])) return true;
    return false;
}

/* RFC 6266: the name percent-encoded, so that no byte of it can end the header. */
static gr_str disposition(gr_call *call, gr_str type, gr_str name)
{
    gr_buf out = {0};
    gr_buf_c(&out, is_inline(type) ? "inline" : "attachment");
    if (name.size) gr_buf_c(&out, "; filename*=utf-8''");
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
        if (plain && c) gr_buf_char(&out, (char)c);
        else gr_buf_printf(&out, "%%%02X", c);
    }
    gr_str text = gr_arena_str(call->arena, gr_buf_view(&out));
    gr_buf_free(&out);
    return text;
}

/* Types come from strangers: one that is no header value is not passed on. */
static gr_str type_of(const gr_media_is *is)
{
    for (size_t i = 0; i < is->content_type.size; i++)
        if ((unsigned char)is->content_type.ptr[i] < 0x20 || (unsigned char)is->content_type.ptr[i] > 0x7e)
            return GR_STR("application/octet-stream");
    return is->content_type;
}

typedef struct { gr_str id, name; bool thumbnail; } download;

static gr_err may_send(const download *d, const gr_media_is *is)
{
    if (is->missing) return gr_fail(GR_NOT_YET_UPLOADED, "The media has not been uploaded yet: try again later");
    if (!d->thumbnail) return gr_ok();
    if (!gr_str_starts(is->content_type, GR_STR("image/"))) return gr_fail(GR_NOT_FOUND, "There is no thumbnail of this");
    if (is->size > THUMBNAIL_MAX) return gr_fail(GR_UNKNOWN, "This image is too large to stand for its thumbnail");
    return gr_ok();
}

/* The upload is known, so its bytes were somewhere once. */
static gr_err open_known(const gr_call *call, gr_str id, gr_media_file **file, uint64_t *size)
{
    gr_err err = gr_media_file_open(id, file, size);
    if (err.code == GR_NOT_FOUND)
        gr_log(GR_LOG_WARNING, "media", "the file of an upload is missing in %s/media%s", gr_call_config(call)->dir,
               gr_call_config(call)->cluster_file[0] ? ": all nodes of a cluster have to see one folder there" : "");
    return err;
}

static void told_media(gr_call *call, const gr_answer *answer)
{
    const download *d = call->state;
    const gr_media_is *is = answer->body;
    gr_media_file *file = NULL;
    uint64_t size = 0;
    gr_err err = gr_failed(answer->err) ? answer->err : may_send(d, is);
    if (!gr_failed(err)) err = open_known(call, d->id, &file, &size);
    if (gr_failed(err)) {
        gr_call_fail(call, err);
        return;
    }
    gr_str type = type_of(is);
    gr_http_header headers[] = {
        {GR_STR("Content-Type"), type},
        {GR_STR("Content-Disposition"), disposition(call, type, d->name.size ? d->name : is->name)},
        {GR_STR("Content-Security-Policy"),
         GR_STR("sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
                "style-src 'unsafe-inline'; object-src 'self';")},
        {GR_STR("Cross-Origin-Resource-Policy"), GR_STR("cross-origin")},
        {GR_STR("X-Content-Type-Options"), GR_STR("nosniff")},
        {GR_STR("Cache-Control"), GR_STR("private, max-age=31536000, immutable")}};
    gr_call_reply(call, &(gr_http_answer){.status = 200, .headers = headers, .header_count = sizeof headers / sizeof headers[0],
                                          .pull = gr_media_file_pull, .pull_length = (int64_t)size,
                                          .pull_done = gr_media_file_done, .pull_ctx = file});
}

static void serve_media(gr_call *call, gr_str name, bool thumbnail)
{
    download *d = gr_arena_alloc(call->arena, sizeof *d);
    *d = (download){.id = gr_call_param(call, "mediaId"), .name = name, .thumbnail = thumbnail};
    call->state = d;
    if (!is_ours(call) || !gr_media_id_valid(d->id)) gr_call_fail_with(call, GR_NOT_FOUND, "There is no such media here");
    else gr_call_ask(call, media_address(call, d->id), &gr_type_media_look, &(gr_media_look){0}, told_media);
}

static void serve_download(gr_call *call) { serve_media(call, (gr_str){0}, false); }
static void serve_download_named(gr_call *call) { serve_media(call, gr_call_param(call, "fileName"), false); }

static void serve_thumbnail(gr_call *call)
{
    uint64_t width = 0, height = 0;
    if (!gr_call_query_u64(call, "width", 0, &width) || !gr_call_query_u64(call, "height", 0, &height)) return;
    if (width == 0 || height == 0) gr_call_fail_with(call, GR_MISSING_PARAM, "'width' and 'height' are needed");
    else serve_media(call, (gr_str){0}, true);
}

static void serve_frozen(gr_call *call)
{
    gr_call_fail_with(call, GR_NOT_FOUND, "Media is only given to those with a token: use /_matrix/client/v1/media");
}

const gr_call_route gr_routes_media[] = {
    {GR_HTTP_POST, MEDIA_V3 "/upload", GR_CALL_TOKEN, GR_CALL_STREAM, GR_RATE_MEDIA, serve_upload, .piece = upload_piece,
     .end = upload_end},
    {GR_HTTP_PUT, MEDIA_V3 "/upload/{serverName}/{mediaId}", GR_CALL_TOKEN, GR_CALL_STREAM, GR_RATE_MEDIA, serve_upload_put,
     .piece = upload_piece, .end = upload_end},
    {GR_HTTP_POST, "/_matrix/media/v1/create", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_MEDIA, serve_create},
    {GR_HTTP_GET, MEDIA_V3 "/config", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_config, .guest_ok = true},
    {GR_HTTP_GET, CLIENT_V1 "/config", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_READ, serve_config, .guest_ok = true},
    {GR_HTTP_GET, CLIENT_V1 "/download/{serverName}/{mediaId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_MEDIA, serve_download,
     .guest_ok = true},
    {GR_HTTP_GET, CLIENT_V1 "/download/{serverName}/{mediaId}/{fileName}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_MEDIA,
     serve_download_named, .guest_ok = true},
    {GR_HTTP_GET, CLIENT_V1 "/thumbnail/{serverName}/{mediaId}", GR_CALL_TOKEN, GR_CALL_NO_BODY, GR_RATE_MEDIA, serve_thumbnail,
     .guest_ok = true},
    {GR_HTTP_GET, MEDIA_V3 "/download/{serverName}/{mediaId}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_MEDIA, serve_frozen},
    {GR_HTTP_GET, MEDIA_V3 "/download/{serverName}/{mediaId}/{fileName}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_MEDIA,
     serve_frozen},
    {GR_HTTP_GET, MEDIA_V3 "/thumbnail/{serverName}/{mediaId}", GR_CALL_NO_TOKEN, GR_CALL_NO_BODY, GR_RATE_MEDIA, serve_frozen},
    {.pattern = NULL}};
