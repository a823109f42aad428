/* routes_report.c - reporting events, rooms and users to the owner of the server. Client-server API, "Reporting Content".
 *
 * What is reported must exist, and an event must be one that the reporter can see and whose room they are in.  The
 * reports lie in directory/reports; its owner reads them with `greenroom send directory/reports report_list '{}'`.
 */
#include "edge/routes.h"

#include "proto/catalogue.h"
#include "proto/ident.h"

enum { REASON_MAX = 2000 };

static void put_report(gr_call *c)
{
    gr_call_pass(c, gr_call_address(c, GR_KIND_DIRECTORY, GR_STR("reports")), &gr_type_report_put, c->state);
}

/* reason: cut at a whole character.  needed: must be there, empty or not. */
static gr_report_put *begin(gr_call *c, bool needed)
{
    gr_report_put *m = c->state = gr_arena_alloc(c->arena, sizeof *m);
    *m = (gr_report_put){.user = c->user};
    if (needed ? !gr_call_want_str(c, "reason", &m->reason) : !gr_call_may_str(c, "reason", &m->reason)) return NULL;
    if (m->reason.size > REASON_MAX) {
        m->reason = gr_str_head(m->reason, REASON_MAX);
        while (m->reason.size && (m->reason.ptr[m->reason.size] & 0xc0) == 0x80) m->reason.size--;
    }
    return m;
}

static bool room_of_path(gr_call *c, gr_str *room_id)
{
    *room_id = gr_call_param(c, "roomId");
    if (gr_ident_room(*room_id)) return true;
    gr_call_fail_with(c, GR_NOT_FOUND, "There is no such room");
    return false;
}

/* --- events -------------------------------------------------------------------------------------------- */
static void refuse_event(gr_call *c)
{
    gr_call_fail_with(c, GR_NOT_FOUND, "There is no such event, or you are not in its room");
}

static void on_event(gr_call *c, const gr_answer *a)
{
    if (a->err.code == GR_NOT_FOUND || a->err.code == GR_FORBIDDEN) refuse_event(c);
    else if (gr_failed(a->err)) gr_call_fail(c, a->err);
    else put_report(c);
}

static void on_in_room(gr_call *c, const gr_answer *a)
{
    const gr_report_put *report = c->state;
    if (gr_failed(a->err)) {
        gr_call_fail(c, a->err);
        return;
    }
    if (((const gr_user_in_rooms *)a->body)->rooms.count == 0) {
        refuse_event(c);
        return;
    }
    gr_room_event m = {.user = c->user, .device = c->device, .event_id = report->event_id};
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, report->room_id), &gr_type_room_event, &m, on_event);
}

static void serve_event(gr_call *c)
{
    gr_report_put *m = begin(c, false);
    if (!m || !room_of_path(c, &m->room_id)) return;
    m->event_id = gr_call_param(c, "eventId");
    gr_user_in_rooms in = {.rooms = {&m->room_id, 1}};
    gr_call_ask(c, gr_call_address(c, GR_KIND_USER, c->user), &gr_type_user_in_rooms, &in, on_in_room);
}

/* --- rooms and users ----------------------------------------------------------------------------------- */
static void on_found(gr_call *c, const gr_answer *a)
{
    if (gr_failed(a->err)) gr_call_fail(c, a->err);
    else put_report(c);
}

static void serve_room(gr_call *c)
{
    gr_report_put *m = begin(c, true);
    if (!m || !room_of_path(c, &m->room_id)) return;
    gr_call_ask(c, gr_call_address(c, GR_KIND_ROOM, m->room_id), &gr_type_room_listing, &(gr_room_listing){0}, on_found);
}

/* Whether users of other servers exist can't be known here. */
static void serve_user(gr_call *c)
{
    gr_report_put *m = begin(c, true);
    if (!m) return;
    m->reported = gr_call_param(c, "userId");
    if (!gr_ident_user(m->reported)) gr_call_fail_with(c, GR_NOT_FOUND, "There is no such user");
    else if (!gr_ident_is_local(m->reported, gr_call_server_name(c))) put_report(c);
    else
        gr_call_ask(c, gr_call_address(c, GR_KIND_USER, m->reported), &gr_type_user_profile, &(gr_user_profile){0},
                    on_found);
}

#define ROOMS "/_matrix/client/(r0|v3)/rooms/{roomId}"
#define REPORT GR_CALL_TOKEN, GR_CALL_JSON, GR_RATE_INVITE

const gr_call_route gr_routes_report[] = {
    {GR_HTTP_POST, ROOMS "/report/{eventId}", REPORT, serve_event},
    {GR_HTTP_POST, ROOMS "/report", REPORT, serve_room},
    {GR_HTTP_POST, "/_matrix/client/v3/users/{userId}/report", REPORT, serve_user},
    {.pattern = NULL},
};
