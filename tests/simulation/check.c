/* check.c - compares what clients saw and what was acknowledged with what the rooms hold. See chat.h. */
#include "tests/simulation/chat.h"

#include "actors/fsck.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct { char id[64]; char body[64]; bool is_message; } kept;
typedef struct { kept at[CHAT_EVENTS_MAX]; size_t count; } history;

static void keep(chat *c, history *h, const gr_json *event)
{
    kept *k = &h->at[h->count++];
    gr_assert(h->count < CHAT_EVENTS_MAX);
    text_copy(k->id, sizeof k->id, gr_json_text(event, "event_id"));
    gr_str body = gr_json_text(gr_json_get(event, "content"), "body");
    text_copy(k->body, sizeof k->body, gr_str_head(body, sizeof k->body - 1));
    k->is_message = gr_str_is(gr_json_text(event, "type"), "m.room.message");
    for (size_t i = 0; i + 1 < h->count; i++)
        if (strcmp(h->at[i].id, k->id) == 0) chat_problem(c, "/messages gave %s twice", k->id);
}

static const gr_json *answer_of(chat *c, gr_str to, const gr_type *type, const void *body)
{
    const gr_json *json = NULL;
    const gr_result *r = NULL;
    for (int tries = 0; tries < 50 && !r; tries++) r = chat_call(c, to, type, body, &gr_type_result);
    return r && !gr_failed(gr_json_parse(c->arena, r->body, GR_JSON_LAX, &json)) ? json : NULL;
}

/* Pages through the whole room backwards, seven at a time. */
static void read_history(chat *c, unsigned room, history *h)
{
    char from[128] = "";
    h->count = 0;
    for (int pages = 0; pages < 2000 && !c->problem[0]; pages++) {
        gr_room_messages m = {.user = gr_str_c(c->clients[0].user), .from = gr_str_c(from), .backward = true, .limit = 7};
        const gr_json *page = answer_of(c, gr_address(c->arena, GR_KIND_ROOM, gr_str_c(c->rooms[room])),
                                        &gr_type_room_messages, &m);
        const gr_json *chunk = gr_json_get(page, "chunk");
        if (!page) {
            chat_problem(c, "no answer to /messages");
            return;
        }
        for (uint32_t i = 0; chunk && i < chunk->count; i++) keep(c, h, &chunk->items[i]);
        gr_str end = gr_json_text(page, "end");
        if (end.size == 0) return;
        text_copy(from, sizeof from, end);
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

/* --- what is not in histories ----------------------------------------------------------------------------------- */
static void check_receipts(chat *c, unsigned reader)
{
    for (unsigned room = 0; room < CHAT_YARD; room++)
        for (unsigned i = 0; i < CHAT_CLIENTS; i++)
            if (strcmp(c->clients[i].receipt_seen[room][reader], c->clients[reader].receipt_acked[room]))
                chat_problem(c, "%s read %s, and %s was told %s", c->clients[reader].user,
                             c->clients[reader].receipt_acked[room], c->clients[i].user,
                             c->clients[i].receipt_seen[room][reader]);
}

static void check_direct(chat *c, unsigned from)
{
    for (unsigned to = 0; to < CHAT_CLIENTS; to++)
        if (c->clients[to].direct_seen[from] != c->clients[from].direct_sent[to])
            chat_problem(c, "%s sent %u to-device messages to %s, where %u came", c->clients[from].user,
                         c->clients[from].direct_sent[to], c->clients[to].user, c->clients[to].direct_seen[from]);
}

/* The room, the user and what the device was shown agree on who is in the yard. */
static void check_yard(chat *c, unsigned i)
{
    const chat_client *client = &c->clients[i];
    gr_str room = gr_str_c(c->rooms[CHAT_YARD]);
    gr_room_joined_members m = {.user = gr_str_c(c->clients[0].user)};
    const gr_json *members = gr_json_get(
        answer_of(c, gr_address(c->arena, GR_KIND_ROOM, room), &gr_type_room_joined_members, &m), "joined");
    const gr_json *rooms = gr_json_get(answer_of(c, gr_address(c->arena, GR_KIND_USER, gr_str_c(client->user)),
                                                 &gr_type_user_joined_rooms, &(gr_user_joined_rooms){0}), "joined_rooms");
    if (!members || !rooms) {
        chat_problem(c, "no answer about the members of the yard");
        return;
    }
    bool by_room = gr_json_get_str(members, gr_str_c(client->user)), by_user = false;
    bool shown = strcmp(client->section, "join") == 0;
    for (uint32_t k = 0; k < rooms->count; k++) by_user |= gr_str_eq(gr_json_string(&rooms->items[k]), room);
    if (by_room != by_user || by_room != shown)
        chat_problem(c, "%s is %s the yard by the room, %s by the user, and was shown \"%s\"", client->user,
                     by_room ? "in" : "not in", by_user ? "in" : "not in", client->section);
}

/* Nobody was lost with the history in which they joined. */
static void check_member(chat *c, unsigned i)
{
    gr_room_joined_members m = {.user = gr_str_c(c->clients[i].user)};
    const gr_json *members = gr_json_get(answer_of(c, gr_address(c->arena, GR_KIND_ROOM, gr_str_c(c->rooms[0])),
                                                   &gr_type_room_joined_members, &m), "joined");
    if (!members || !gr_json_get_str(members, gr_str_c(c->clients[i].user)))
        chat_problem(c, "%s is not in the room whose history was purged", c->clients[i].user);
}

/* Every post has been applied: nothing waits, nothing was put aside, no pair of shards fell out. */
static void check_posts(chat *c)
{
    gr_worker_counters sum;
    gr_sim_count(c->sim, &sum);
    if (sum.pairs_stopped || sum.outbox || sum.dead_letters)
        chat_problem(c, "%llu posts still wait, %llu could not be applied, %llu pairs of shards stopped",
                     (unsigned long long)sum.outbox, (unsigned long long)sum.dead_letters,
                     (unsigned long long)sum.pairs_stopped);
}

/* What `greenroom fsck` looks at: every row, and all that follows from the events of rooms. */
static void check_stores(chat *c)
{
    for (unsigned node = 0; node < c->nodes; node++) {
        gr_store *store = gr_sim_store(c->sim, node);
        gr_fsck *fsck = gr_fsck_new();
        gr_fsck_report report;
        gr_fsck_rooms rooms = {.env = chat_env()};
        gr_fsck_actors(fsck, &rooms);
        if (!store || gr_failed(gr_fsck_run(fsck, store, NULL, NULL, &report)))
            chat_problem(c, "the store of node %u can't be read", node);
        else if (report.problems || report.unknown)
            chat_problem(c, "the store of node %u: %" GR_FMT, node, GR_ARG(report.listed.at[0]));
        gr_fsck_free(&fsck);
        gr_buf_free(&rooms.uncovered);
    }
}

/* What was to stay is there, and no more; the room that was to go is as one that never was. */
void chat_check_purged(chat *c)
{
    history *h = gr_alloc(sizeof *h);
    const gr_type *got = NULL;
    gr_err err;
    check_posts(c);
    read_history(c, 0, h);
    if (h->count != 2 || strcmp(h->at[1].id, c->purge.cut))
        chat_problem(c, "after the purge of all before %s the room has %zu events", c->purge.cut, h->count);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) check_member(c, i);
    gr_sim_call(c->sim, gr_address(c->arena, GR_KIND_ROOM, gr_str_c(c->purge.attic)), &gr_type_room_purge_status,
                &(gr_room_purge_status){0}, c->arena, &got, &err);
    if (err.code != GR_NOT_FOUND) chat_problem(c, "the purged room is still there");
    check_stores(c);
    free(h);
}

void chat_check(chat *c)
{
    check_posts(c);
    history *all = gr_alloc(CHAT_ROOMS * sizeof *all);
    for (unsigned room = 0; room < CHAT_ROOMS; room++) {
        read_history(c, room, &all[room]);
        for (unsigned i = 0; i < CHAT_CLIENTS && room != CHAT_YARD; i++) check_seen(c, &c->clients[i], room, &all[room]);
    }
    check_sent(c, all);
    check_stores(c);
    for (unsigned i = 0; i < CHAT_CLIENTS; i++) {
        check_receipts(c, i);
        check_direct(c, i);
        check_yard(c, i);
    }
    if (gr_sim_mismatches(c->sim))
        chat_problem(c, "%llu actors differed after being loaded again",
                     (unsigned long long)gr_sim_mismatches(c->sim));
    free(all);
}
