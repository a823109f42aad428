/* redact.c - what a redaction does to its target, when that comes later too, and redaction at rest. See graph.h.
 *
 * Client-server API, "Redactions"; server-server API, "Handling redactions".  A redacted event is marked, and from then
 * on readers get what redaction leaves of it; its bytes stay for a while, so that moderators can still be shown
 * them, and are rewritten when rooms.redaction_retention is over.  Nothing is lost by that: hashes and
 * signatures are of the redacted form.
 */
#include "actors/room/cache.h"
#include "actors/room/graph.h"
#include "actors/room/record.h"

enum { LATE_MAX = 16, REST_STEP = 16 };

static gr_str timer(void) { return GR_STR("redacted"); }

/* --- at rest ------------------------------------------------------------------------------------------- */
static gr_str redacted_text(gr_room *room, gr_arena *a, gr_str text)
{
    const gr_json *whole;
    if (gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &whole))) return text;
    return gr_event_redact(a, room->version, whole);
}

static bool count_row(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

/* The first that waits sets the timer, which then goes from one to the next. */
static void wait_for_rest(gr_ctx *ctx, uint64_t number)
{
    uint64_t now_ms = gr_ctx_now_ms(ctx);
    bool waiting = false;
    gr_ctx_scan_prefix(ctx, GR_STR("z"), 1, count_row, &waiting);
    gr_ctx_put(ctx, gr_room_key_numbers(ctx, 'z', now_ms, number), (gr_str){0});
    if (!waiting) gr_ctx_timer(ctx, timer(), now_ms + gr_env_of(ctx)->redaction_retention_ms, true);
}

typedef struct {
    uint64_t since_ms[REST_STEP + 1], numbers[REST_STEP + 1];
    size_t count;
} resting;

static bool collect(void *arg, gr_str key, gr_str value)
{
    resting *r = arg;
    (void)value;
    if (key.size != 17) return true;
    r->since_ms[r->count] = gr_u64be(key.ptr + 1);
    r->numbers[r->count++] = gr_u64be(key.ptr + 9);
    return r->count <= REST_STEP;
}

static void rest(gr_room *room, gr_ctx *ctx, uint64_t number)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_room_record r;
    gr_str bytes, key = gr_room_key_number(ctx, 'e', number);
    if (!gr_ctx_get(ctx, key, &bytes) || !gr_room_record_read(bytes, &r) || !(r.flags & GR_ROOM_REDACTED)) return;
    gr_ctx_put(ctx, key, gr_room_record_marked(a, bytes, r.flags, r.redacted_by, redacted_text(room, a, r.json)));
}

void gr_room_on_redacted_timer(gr_room *room, gr_ctx *ctx)
{
    uint64_t keep_ms = gr_env_of(ctx)->redaction_retention_ms, now_ms = gr_ctx_now_ms(ctx);
    resting r = {0};
    if (gr_ctx_upkeep_paused(ctx, GR_ROOM_UPKEEP_REDACTIONS)) {
        gr_ctx_timer(ctx, timer(), now_ms + GR_UPKEEP_PAUSED_MS, true);
        return;
    }
    gr_ctx_scan_prefix(ctx, GR_STR("z"), REST_STEP + 1, collect, &r);
    uint64_t rested = 0;
    for (size_t i = 0; i < r.count; i++) {
        if (i == REST_STEP || r.since_ms[i] + keep_ms > now_ms) {
            uint64_t due_ms = r.since_ms[i] + keep_ms;
            gr_ctx_timer(ctx, timer(), due_ms > now_ms ? due_ms : now_ms + 1, true);
            return;
        }
        gr_ctx_upkeep(ctx, GR_ROOM_UPKEEP_REDACTIONS, ++rested);
        rest(room, ctx, r.numbers[i]);
        gr_ctx_del(ctx, gr_room_key_numbers(ctx, 'z', r.since_ms[i], r.numbers[i]));
    }
}

/* --- one redaction, one target ------------------------------------------------------------------------- */
static bool apply(gr_room *room, gr_ctx *ctx, uint64_t by, const gr_event *redaction, uint64_t number)
{
    gr_arena *a = gr_ctx_arena(ctx);
    gr_room_record r;
    gr_event target;
    gr_room_nodes nodes;
    gr_str bytes, text = {0}, key = gr_room_key_number(ctx, 'e', number);
    gr_auth_state state = gr_room_auth_state(&nodes, room, ctx);
    if (!gr_ctx_get(ctx, key, &bytes) || !gr_room_record_read(bytes, &r) || (r.flags & GR_ROOM_REDACTED))
        return false;
    if (!gr_room_event_of(room, a, &r, &target) || !gr_auth_may_redact(&state, redaction, &target)) return false;
    gr_room_unrelate(ctx, &r, &target);
    if (gr_env_of(ctx)->redaction_retention_ms) wait_for_rest(ctx, number);
    else text = redacted_text(room, a, r.json);
    gr_ctx_put(ctx, key, gr_room_record_marked(a, bytes, r.flags | GR_ROOM_REDACTED, by, text));
    if (r.is_state) gr_room_cache_moved(room->cache, r.type, r.state_key);
    return true;
}

static gr_str late_key(gr_ctx *ctx, gr_str target, uint64_t by)
{
    gr_str number = gr_str_from(gr_room_key_number(ctx, ' ', by), 1);
    return gr_room_key_parts(ctx, 'P', 2, (gr_str[]){target, number});
}

void gr_room_redact(gr_room *room, gr_ctx *ctx, const gr_room_made *made)
{
    uint64_t number;
    gr_str target = made->event.redacts;
    if (target.size == 0 || target.size > GR_EVENT_FIELD_MAX || gr_str_find(target, 0) >= 0) return;
    if (gr_room_number_of(ctx, target, &number)) apply(room, ctx, made->number, &made->event, number);
    else gr_ctx_put(ctx, late_key(ctx, target, made->number), (gr_str){0});
}

void gr_room_redact_forget(gr_ctx *ctx, uint64_t number, const gr_event *e)
{
    bool may_wait = gr_str_is(e->type, "m.room.redaction") && e->redacts.size && e->redacts.size <= GR_EVENT_FIELD_MAX
                    && gr_str_find(e->redacts, 0) < 0;
    if (may_wait) gr_ctx_del(ctx, late_key(ctx, e->redacts, number));
}

/* --- targets that come later --------------------------------------------------------------------------- */
typedef struct {
    uint64_t numbers[LATE_MAX];
    size_t count;
} redactions;

static bool collect_late(void *arg, gr_str key, gr_str value)
{
    redactions *r = arg;
    (void)value;
    if (key.size > 8) r->numbers[r->count++] = gr_u64be(key.ptr + key.size - 8);
    return r->count < LATE_MAX;
}

void gr_room_redact_late(gr_room *room, gr_ctx *ctx, gr_room_made *made)
{
    gr_arena *a = gr_ctx_arena(ctx);
    redactions late = {0};
    gr_str prefix = gr_room_key_parts(ctx, 'P', 2, (gr_str[]){made->event_id, {0}});
    gr_ctx_scan_prefix(ctx, prefix, LATE_MAX, collect_late, &late);
    bool redacted = false;
    for (size_t i = 0; i < late.count; i++) {
        gr_room_record by;
        gr_event redaction;
        bool known = gr_room_record_at(ctx, late.numbers[i], &by) && gr_room_event_of(room, a, &by, &redaction);
        if (known && !redacted) redacted = apply(room, ctx, late.numbers[i], &redaction, made->number);
        gr_ctx_del(ctx, late_key(ctx, made->event_id, late.numbers[i]));
    }
    gr_event left;
    if (!redacted || !gr_room_record_at(ctx, made->number, &made->record)
        || !gr_room_event_of(room, a, &made->record, &left)) return;
    left.event_id = made->event_id;
    made->event = left;
}
