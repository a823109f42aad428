/* check.c - compares what clients saw and what was acknowledged with what the rooms hold. See chat.h. */
#include "tests/simulation/chat.h"

#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct { char id[64]; char body[64]; bool is_message; } kept;
typedef struct { kept at[CHAT_EVENTS_MAX]; size_t count; } history;

static void copy(char *to, size_t room, gr_str text)
{
    size_t size = text.size < room ? text.size : room - 1;
    if (size) memcpy(to, text.ptr, size);
    to[size] = 0;
}

static void keep(chat *c, history *h, const gr_json *event)
{
    kept *k = &h->at[h->count++];
    gr_assert(h->count < CHAT_EVENTS_MAX);
    copy(k->id, sizeof k->id, gr_json_text(event, "event_id"));
    copy(k->body, sizeof k->body, gr_json_text(gr_json_get(event, "content"), "body"));
    k->is_message = gr_str_is(gr_json_text(event, "type"), "m.room.message");
    for (size_t i = 0; i + 1 < h->count; i++)
        if (strcmp(h->at[i].id, k->id) == 0) chat_problem(c, "/messages gave %s twice", k->id);
}

/* Pages through the whole room backwards, seven at a time. */
static void read_history(chat *c, unsigned room, history *h)
{
    char from[128] = "";
    h->count = 0;
    for (int pages = 0; pages < 2000 && !c->problem[0]; pages++) {
        const gr_type *type = NULL;
        const gr_json *page = NULL;
        gr_err err;
        gr_room_messages m = {.user = gr_str_c(c->clients[0].user), .from = gr_str_c(from), .backward = true, .limit = 7};
        const gr_result *r = gr_sim_call(c->sim, gr_address(c->arena, GR_KIND_ROOM, gr_str_c(c->rooms[room])),
                                         &gr_type_room_messages, &m, c->arena, &type, &err);
        if (gr_failed(err) || type != &gr_type_result || gr_failed(gr_json_parse(c->arena, r->body, GR_JSON_LAX, &page))) {
            chat_problem(c, "/messages failed: %s", err.text ? err.text : "no result");
            return;
        }
        const gr_json *chunk = gr_json_get(page, "chunk");
        for (uint32_t i = 0; chunk && i < chunk->count; i++) keep(c, h, &chunk->items[i]);
        gr_str end = gr_json_text(page, "end");
        if (end.size == 0) return;
        copy(from, sizeof from, end);
    }
    chat_problem(c, "/messages never comes to an end");
}

static bool has(const history *h, const char *id)
{
    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->at[i].id, id) == 0) return true;
    return false;
}

static void check_seen(chat *c, const chat_client *client, unsigned room, const history *h)
{
    size_t seen = 0, sent = 0;
    for (size_t i = 0; i < client->seen_count; i++) {
        if (strcmp(client->seen[i].room, c->rooms[room])) continue;
        if (client->seen[i].is_message) seen++;
        if (!has(h, client->seen[i].id))
            chat_problem(c, "%s saw %s, which the room does not have", client->user, client->seen[i].id);
    }
    for (size_t i = 0; i < h->count; i++) sent += h->at[i].is_message;
    if (seen != sent) chat_problem(c, "%s saw %zu messages of the %zu in %s", client->user, seen, sent, c->rooms[room]);
}

static void check_sent(chat *c, const history all[CHAT_ROOMS])
{
    for (unsigned i = 0; i < CHAT_CLIENTS; i++)
        for (unsigned n = 1; n <= c->clients[i].number; n++) {
            char body[64];
            unsigned found = 0;
            const char *id = c->clients[i].acked[n];
            snprintf(body, sizeof body, "%s %u", c->clients[i].user, n);
            for (unsigned room = 0; room < CHAT_ROOMS; room++)
                for (size_t k = 0; k < all[room].count; k++) {
                    if (strcmp(all[room].at[k].body, body)) continue;
                    found++;
                    if (strcmp(all[room].at[k].id, id))
                        chat_problem(c, "\"%s\" was acknowledged as %s and is %s", body, id,
                                     all[room].at[k].id);
                }
            if (found != 1) chat_problem(c, "\"%s\" was acknowledged and is there %u times", body, found);
        }
}

void chat_check(chat *c)
{
    history *all = gr_alloc(CHAT_ROOMS * sizeof *all);
    for (unsigned room = 0; room < CHAT_ROOMS; room++) {
        read_history(c, room, &all[room]);
        for (unsigned i = 0; i < CHAT_CLIENTS; i++) check_seen(c, &c->clients[i], room, &all[room]);
    }
    check_sent(c, all);
    if (gr_sim_mismatches(c->sim))
        chat_problem(c, "%llu actors differed after being loaded again",
                     (unsigned long long)gr_sim_mismatches(c->sim));
    free(all);
}
