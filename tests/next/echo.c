/* echo.c of the next version, as the tests imagine it. An echo whose text is "echo/x" is posted on to that actor, one with
 * "note echo/x" in the new form as soon as all nodes understand it, one with "blind echo/x" without regard to them.
 * What is posted to it is kept, and shown by `greenroom inspect`. */
#include "bus/echo.h"

enum { NEW_LEVEL = 2, THOUSAND = 1000 };

static gr_str row(void) { return GR_STR("last"); }

static bool read_row(gr_ctx *c, gr_str *bytes, gr_echo *out)
{
    void *body;
    if (!gr_ctx_get(c, row(), bytes) || gr_failed(gr_body_decode(gr_ctx_arena(c), &gr_type_echo, *bytes, &body))) return false;
    *out = *(gr_echo *)body;
    return true;
}

/* The number is kept as it is meant, whole. */
static void keep(const gr_msg *m, gr_ctx *c)
{
    const gr_echo_note *note = m->body;
    gr_echo kept = {.text = GR_STR("note")};
    if (m->type == &gr_type_echo) kept = *(const gr_echo *)m->body;
    else kept.number = note->number;
    if (m->level >= NEW_LEVEL) kept.number /= THOUSAND;
    gr_ctx_put_body(c, row(), &gr_type_echo, &kept);
}

static void pass_on(gr_ctx *c, gr_str to, const gr_echo *e, bool is_new)
{
    uint64_t number = gr_ctx_level(c) >= NEW_LEVEL ? e->number * THOUSAND : e->number;
    if (is_new) gr_ctx_post(c, to, &gr_type_echo_note, &(gr_echo_note){.text = e->text, .number = number});
    else gr_ctx_post(c, to, &gr_type_echo, &(gr_echo){.text = GR_STR("post"), .number = number, .mark = e->mark});
}

static void on_ask(const gr_echo *e, gr_ctx *c)
{
    gr_str note = GR_STR("note "), blind = GR_STR("blind ");
    if (gr_str_starts(e->text, GR_STR("echo/"))) pass_on(c, e->text, e, false);
    if (gr_str_starts(e->text, note)) pass_on(c, gr_str_from(e->text, note.size), e, gr_ctx_level(c) >= NEW_LEVEL);
    if (gr_str_starts(e->text, blind)) pass_on(c, gr_str_from(e->text, blind.size), e, true);
    gr_ctx_reply(c, &gr_type_echo, e);
}

static void handle(void *self, const gr_msg *m, gr_ctx *c)
{
    (void)self;
    if (m->verb == GR_POST && (m->type == &gr_type_echo || m->type == &gr_type_echo_note)) keep(m, c);
    else if (m->type == &gr_type_echo) on_ask(m->body, c);
    else gr_ctx_fail(c, gr_fail(GR_UNRECOGNIZED, "Send an echo, for instance {\"text\":\"hello\"}"));
}

static void inspect(const void *self, gr_ctx *c, gr_buf *out)
{
    gr_echo last = {0};
    gr_str bytes = {0};
    (void)self;
    if (!read_row(c, &bytes, &last)) return;
    gr_buf_printf(out, "\"row\":%zu,\"number\":%llu,\"text\":\"%" GR_FMT "\",\"mark\":\"%" GR_FMT "\"", bytes.size,
                  (unsigned long long)last.number, GR_ARG(last.text), GR_ARG(last.mark));
}

const gr_actor_kind gr_echo_kind = {.kind = GR_KIND_ECHO, .size = 1, .handle = handle, .inspect = inspect};
