/* directory.c - keeps entries, and hands questions to the pool. See directory.h; the scans are in search.c. */
#include "actors/directory/directory.h"

#include <stdlib.h>

typedef struct asking asking;
struct asking { asking *next; uint64_t number; gr_asker *asker; };

typedef struct {
    asking *asked;
    size_t asked_count;
    uint64_t next_number;
} directory;

static gr_str entry_key(gr_ctx *ctx, gr_str id) { return gr_arena_cat(gr_ctx_arena(ctx), 2, (gr_str[]){GR_STR("e"), id}); }

static void keep_entry(gr_ctx *ctx, gr_str id, const gr_type *type, const void *body)
{
    gr_ctx_put_body(ctx, entry_key(ctx, id), type, body);
}

static void on_user(const gr_directory_user *m, gr_ctx *ctx)
{
    if (m->gone) gr_ctx_del(ctx, entry_key(ctx, m->user));
    else keep_entry(ctx, m->user, &gr_type_directory_user, m);
}

static void ask(directory *d, const gr_work *work, const gr_type *type, const void *body, gr_ctx *ctx)
{
    if (d->asked_count == GR_DIRECTORY_ASKERS_MAX) {
        gr_ctx_fail(ctx, (gr_err){GR_LIMIT_EXCEEDED, "The directory is busy: try again", 1000});
        return;
    }
    asking *a = gr_alloc(sizeof *a);
    *a = (asking){d->asked, ++d->next_number, gr_ctx_keep_asker(ctx)};
    d->asked = a;
    d->asked_count++;
    gr_buf input = {0};
    gr_body_encode(&input, type, body);
    gr_ctx_work(ctx, work, gr_buf_view(&input), &(gr_resume){.number = a->number});
    gr_buf_free(&input);
}

static void on_worked(directory *d, const gr_msg *m, gr_ctx *ctx)
{
    asking **at = &d->asked;
    while (*at && (*at)->number != m->resume->number) at = &(*at)->next;
    asking *a = *at;
    if (!a) return;
    *at = a->next;
    d->asked_count--;
    const gr_work_done *done = m->body;
    if (gr_failed(m->err) || done->failed) {
        gr_ctx_answer_fail(ctx, &a->asker, gr_fail(GR_UNAVAILABLE, "The directory could not be read: try again"));
    } else {
        gr_result result = {.body = done->output};
        gr_ctx_answer(ctx, &a->asker, &gr_type_result, &result);
    }
    free(a);
}

static void load(void *self, gr_str id, gr_ctx *ctx) { (void)self, (void)id, (void)ctx; }

static void handle(void *self, const gr_msg *m, gr_ctx *ctx)
{
    directory *d = self;
    if (m->verb == GR_REPLY) {
        on_worked(d, m, ctx);
        return;
    }
    switch (m->type->id) {
    case GR_T_directory_put:
        keep_entry(ctx, ((const gr_directory_put *)m->body)->room_id, m->type, m->body);
        return;
    case GR_T_directory_remove: gr_ctx_del(ctx, entry_key(ctx, ((const gr_directory_remove *)m->body)->room_id)); return;
    case GR_T_directory_user: on_user(m->body, ctx); return;
    case GR_T_registration_token_put: gr_directory_on_registration_token(m->body, ctx); return;
    case GR_T_registration_token_drop: gr_directory_on_registration_token_drop(m->body, ctx); return;
    case GR_T_registration_token_list: gr_directory_on_registration_token_list(m->body, ctx); return;
    case GR_T_report_put: gr_directory_on_report(m->body, ctx); return;
    case GR_T_report_list: gr_directory_on_report_list(m->body, ctx); return;
    case GR_T_directory_rooms: ask(d, &gr_directory_rooms_work, m->type, m->body, ctx); return;
    case GR_T_directory_users: ask(d, &gr_directory_users_work, m->type, m->body, ctx); return;
    default: gr_ctx_fail(ctx, gr_fail(GR_UNRECOGNIZED, "A directory does not take this message"));
    }
}

static void drop(void *self)
{
    directory *d = self;
    while (d->asked) {
        asking *a = d->asked;
        d->asked = a->next;
        gr_asker_free(&a->asker);
        free(a);
    }
}

static bool busy(const void *self) { return ((const directory *)self)->asked != NULL; }

static void inspect(const void *self, gr_ctx *ctx, gr_buf *out)
{
    (void)ctx;
    gr_buf_printf(out, "\"questions_open\":%zu", ((const directory *)self)->asked_count);
}

const gr_actor_kind gr_directory_kind = {.kind = GR_KIND_DIRECTORY, .size = sizeof(directory), .load = load, .handle = handle,
                                         .drop = drop, .busy = busy, .inspect = inspect};
