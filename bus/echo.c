/* echo.c - the echo actor. See echo.h. */
#include "bus/echo.h"

static void handle(void *self, const gr_msg *m, gr_ctx *c)
{
    (void)self;
    if (m->type == &gr_type_echo) gr_ctx_reply(c, &gr_type_echo, m->body);
    else gr_ctx_fail(c, gr_fail(GR_UNRECOGNIZED, "Send an echo, for instance {\"text\":\"hello\"}"));
}

const gr_actor_kind gr_echo_kind = {.kind = GR_KIND_ECHO, .size = 1, .handle = handle};
