/* rooms_message.c - a message into a room of 10 members and into one of 50,000: what it costs the room actor. */
#include "tests/bench/rooms.h"

#include <stdio.h>
#include <stdlib.h>

enum { HERE = 10, SENDS = 3000, FEW = 10, MANY = 50000 };

/* A public room of so many, ten of them of this server. */
static bench_room *room_of(size_t members)
{
    bench_room *b = bench_open("!messages:here");
    uint64_t create = 0, join = 0, powers = 0, rules = 0;
    char user[64];
    for (size_t i = 0; i < members + 3; i++) {
        uint64_t root = b->room->root;
        if (i == 0) {
            create = bench_store(b, &(bench_event){"@user0:here", "m.room.create", "", "{\"room_version\":\"11\"}",
                                                   {0}, root, false}).number;
            continue;
        }
        if (i == 2) {
            powers = bench_store(b, &(bench_event){"@user0:here", "m.room.power_levels", "",
                                                   "{\"users\":{\"@user0:here\":100}}", {create, join}, root, false})
                         .number;
            rules = bench_store(b, &(bench_event){"@user0:here", "m.room.join_rules", "",
                                                  "{\"join_rule\":\"public\"}", {create, join, powers},
                                                  b->room->root, false})
                        .number;
            i++;
            continue;
        }
        size_t n = i == 1 ? 0 : i - 3;
        if (i > 1 && n == 0) continue;
        snprintf(user, sizeof user, "@user%zu:%s", n, n < HERE ? "here" : "elsewhere");
        bench_event e = {user, "m.room.member", user, "{\"membership\":\"join\"}", {create}, root, false};
        if (powers) e.auth[1] = powers, e.auth[2] = rules;
        uint64_t number = bench_store(b, &e).number;
        if (i == 1) join = number;
    }
    bench_reopen(b);
    return b;
}

typedef struct { double us, bytes, rows, gets; } cost;

static cost send_all(bench_room *b)
{
    double us = 0;
    uint64_t bytes = b->bytes, writes = b->writes, gets = b->gets;
    for (size_t i = 0; i < SENDS; i++) {
        gr_room_send m = {.user = GR_STR("@user0:here"),
                          .device = GR_STR("DEVICE"),
                          .type = GR_STR("m.room.message"),
                          .content = GR_STR("{\"msgtype\":\"m.text\",\"body\":\"What does it cost to say this?\"}")};
        m.txn = gr_arena_printf(b->long_arena, "send/%zu", i);
        gr_msg msg = {.verb = GR_ASK, .type = &gr_type_room_send, .body = &m, .from = GR_STR("edge/n0/0")};
        double begun = bench_cpu_us();
        bench_begin(b);
        gr_ctx_asked(&b->ctx, msg.from, i + 1);
        gr_room_kind.handle(b->room, &msg, &b->ctx);
        us += bench_cpu_us() - begun;
        bool is_sent = false;
        for (const gr_effect *e = b->ctx.first; e; e = e->next) is_sent = is_sent || e->type == &gr_type_room_sent;
        bench_need(is_sent, "a message");
        bench_finish(b);
    }
    return (cost){us / SENDS, (double)(b->bytes - bytes) / SENDS, (double)(b->writes - writes) / SENDS,
                  (double)(b->gets - gets) / SENDS};
}

static void tell(const char *room, cost c)
{
    char name[96];
    const struct { const char *what; double value; const char *unit; } rows[] = {
        {"CPU", c.us, "us"}, {"written", c.bytes, "bytes"}, {"rows written", c.rows, ""}, {"reads", c.gets, ""}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(name, sizeof name, "a message into a room of %s: %s", room, rows[i].what);
        bench_tell(name, rows[i].value, rows[i].unit);
    }
}

void bench_messages(void)
{
    bench_room *few = room_of(FEW), *many = room_of(MANY);
    bench_need(few->room->joined == FEW && many->room->joined == MANY, "joining");
    cost small = send_all(few), big = send_all(many);
    tell("10", small);
    tell("50,000", big);
    bench_tell("  50,000 members cost more by a factor of", big.us / small.us, "");
    bench_close(&few);
    bench_close(&many);
}
