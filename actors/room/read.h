/* read.h - the room as one user may see it: history visibility, rendering, filters, and the handlers of the read side.
 *
 * A gr_view is made per request and lives as long as the handler, or the work that runs a large read (reading.h).  Nothing
 * here changes the room, except receipts and typing.  Bounds: a page of history reads at most GR_READ_RECORDS_MAX events and
 * looks at GR_READ_ROWS_MAX rows; past that it answers with fewer events and a token to go on with, which the specification
 * allows.  State and members come in pages of GR_READ_PAGE_BYTES.
 */
#pragma once
#include "actors/room/room.h"

enum {
    GR_READ_PAGE_MAX = 100,                /* events in one answer */
    GR_READ_RECORDS_MAX = 128,             /* events looked at for one answer */
    GR_READ_ROWS_MAX = 256,
    GR_READ_INTERVALS_MAX = 256,           /* newest own memberships that are known */
    GR_READ_MOMENTS = 8,
    GR_READ_HEROES = 5,
    GR_READ_TIMELINE_BYTES = 256 * 1024,   /* of stored events in one answer */
    GR_READ_PAGE_BYTES = 160 * 1024,       /* of state in one message: the item that passes this is the last */
    GR_READ_PAGE_KEYS = 2000               /* looked at for one message */
};

/* --- filter.c: RoomEventFilter, "Filtering" ------------------------------------------------------------- */
typedef struct {
    const gr_json *json;                   /* NULL: everything passes */
    bool lazy;
    gr_strs ignored;                       /* users whose events are left out, but never their state events */
} gr_room_filter;
/* text may be empty.  GR_BAD_JSON or GR_NOT_JSON when it is no JSON object. */
GR_MUST_USE gr_err gr_room_filter_read(gr_arena *, gr_str text, gr_room_filter *out);
bool gr_room_filter_passes(const gr_room_filter *, gr_arena *, gr_str room_id, const gr_room_record *);
/* The filter's limit, if it has one. */
uint64_t gr_room_filter_limit(const gr_room_filter *, uint64_t otherwise);
/* event_fields: appends of this event only the named parts. */
void gr_room_filter_fields(gr_arena *, const gr_json *fields, gr_str event, gr_buf *out);

/* --- view.c: who sees what ------------------------------------------------------------------------------ */
typedef struct { uint64_t pos; gr_membership membership; } gr_room_interval;       /* from this position on */
typedef struct { bool known; uint64_t root; gr_membership membership; gr_visibility visibility; } gr_room_moment;

typedef struct {
    gr_room *room;
    gr_ctx *ctx;
    gr_str user, device;
    gr_membership now;
    gr_room_interval *own;                 /* NULL: not read yet */
    size_t own_count;
    uint64_t until;                        /* position at which the user last stopped being joined; 0: never was */
    bool open;                             /* no state hides anything from members, joined later or not */
    bool over_gaps;                        /* paging back goes on behind history that is missing */
    gr_room_moment moments[GR_READ_MOMENTS];
    unsigned next_moment;
    uint64_t member_key, visibility_key;
    bool keys_known;
    /* how events are rendered */
    bool federation, without_room_id;
    const gr_json *fields;                 /* event_fields or NULL */
    gr_strs ignored;
    size_t rows_left;                      /* relation rows that may still be read */
    unsigned depth;                        /* inside a bundle: threads have no threads */
} gr_view;

void gr_view_begin(gr_view *, gr_room *, gr_ctx *, gr_str user, gr_str device);
/* The user's memberships, ascending, the newest GR_READ_INTERVALS_MAX; read when first asked for. */
const gr_room_interval *gr_view_intervals(gr_view *, size_t *count);
/* GR_FORBIDDEN when the user may see nothing here: never joined, and the room is not world-readable. */
GR_MUST_USE gr_err gr_view_check(gr_view *);
/* "History visibility".  For events of the stream; others are never seen. */
bool gr_view_sees(gr_view *, const gr_room_record *);
/* The user's membership in the state of a root, and the visibility there.  pos: where that state was the current one, if it
 * ever was. */
gr_room_moment gr_view_moment(gr_view *, uint64_t root, uint64_t pos);
/* The root of the state that the user may know: the current one, or that at leaving. */
uint64_t gr_view_root(gr_view *);
/* The membership that a member event (by number) gives; GR_MEMBER_NONE for 0. */
gr_membership gr_view_membership_by(gr_view *, uint64_t number);

/* --- render.c: events as clients get them --------------------------------------------------------------- */
/* BUNDLE: with aggregations of child events.  STATE: in a list of state, where what was before and which transaction made
 * it is of no interest. */
enum { GR_RENDER_PLAIN = 0, GR_RENDER_BUNDLE = 1, GR_RENDER_STATE = 2 };
void gr_render_event(gr_view *, gr_buf *out, const gr_room_record *, unsigned how);
/* Appends with a comma before it, unless it is the first after '['. */
void gr_render_item(gr_view *, gr_buf *out, const gr_room_record *, unsigned how);
/* The raw text of a top-level member of a JSON object's text; empty when there is none. */
gr_str gr_render_member(gr_str object, const char *key);

/* --- relations.c ---------------------------------------------------------------------------------------- */
/* Appends the member "m.relations" of unsigned, with a comma before it, when there is something to tell. */
void gr_relations_bundle(gr_view *, gr_buf *out, const gr_room_record *);

/* --- page.c: places in history -------------------------------------------------------------------------- */
/* A cut through history.  Before it lie the events with room positions up to bound that come before (depth, pos);
 * everything else lies after.  place false: before it lies everything up to bound.  So each event lies on exactly one side
 * of a cut, however late it came and wherever in the graph it belongs.
 * Backward from a cut, events come by falling (depth, pos).  Forward, by rising (depth, pos) up to bound, and then
 * those past bound in the order of their positions. */
typedef struct { bool place; uint64_t depth, pos, bound; } gr_room_cut;
gr_str gr_room_cut_text(gr_arena *, const gr_room_cut *);
bool gr_room_cut_read(gr_str text, gr_room_cut *);
gr_str gr_room_cut_at(gr_arena *, uint64_t bound);         /* text of the cut after this room position */
/* Events on the far side of a cut that a filter and visibility let through, at most limit.  stop is the cut behind the last
 * one looked at; more: whether anything may lie beyond it.  Backward it ends behind an event before which history is missing
 * (gap_depth is that event's, else 0), unless the view goes over gaps.  to: where to stop, or NULL. */
typedef struct { gr_room_record *at; size_t count; gr_room_cut stop; bool more; uint64_t gap_depth; } gr_room_page;
gr_room_page gr_room_page_of(gr_view *, const gr_room_filter *, gr_room_cut from, const gr_room_cut *to, bool backward,
                             size_t limit);
/* Members of state: the senders of these events, in the state of a root, as a JSON array. */
void gr_room_senders_state(gr_view *, gr_buf *out, const gr_room_record *, size_t count, uint64_t root);
/* The root of the current state as it was at a room position; 0 before the first. */
uint64_t gr_room_root_at(gr_room *, gr_ctx *, uint64_t pos);

/* --- walk.c: states in pages ---------------------------------------------------------------------------- */
/* Every key that differs between two roots, beginning after one of them (0: all), until the callback says false or
 * GR_READ_PAGE_KEYS were looked at: then this returns the last key, else 0.  Members are found in no meaningful order;
 * without_members: by names, for a walk from nothing (known 0), whose cost does not depend on the number of members. */
typedef bool gr_room_change_fn(void *arg, uint64_t key, uint64_t before, uint64_t after);
uint64_t gr_room_changes(gr_room *, gr_ctx *, uint64_t known, uint64_t end, uint64_t after, bool without_members,
                         gr_room_change_fn *, void *arg);
/* Part of the state of a root: appends events to out, beginning after a key, as many as fit.  Returns where to go on, or 0. */
typedef enum { GR_STATE_ALL, GR_STATE_MEMBERS, GR_STATE_OTHERS } gr_state_choice;
typedef bool gr_state_wanted_fn(void *arg, const gr_room_record *);            /* NULL: all */
uint64_t gr_room_state_part(gr_view *, gr_buf *out, uint64_t root, uint64_t after, gr_state_choice,
                            gr_state_wanted_fn *, void *arg);
/* The cursor of a page of a state; read: false when it is none. */
gr_str gr_room_cursor(gr_arena *, uint64_t root, uint64_t key);
bool gr_room_cursor_read(gr_str text, uint64_t *root, uint64_t *key);
/* Answers a page; a whole answer (from nothing to nothing) as result.  out is freed. */
void gr_room_answer_page(gr_ctx *, gr_str head, gr_buf *items, gr_str tail, gr_str page, gr_str next);

/* --- receipts.c ----------------------------------------------------------------------------------------- */
/* Content of one m.receipt event with what is newer than a receipt position: public receipts, and private ones of the user
 * of the view.  Empty when there is none. */
gr_str gr_receipts_after(gr_view *, uint64_t receipt_pos);
void gr_receipts_drop(gr_room *);                          /* frees what is in memory */

/* --- handlers ------------------------------------------------------------------------------------------- */
void gr_room_on_sync(gr_room *, gr_ctx *, const gr_room_sync *);                     /* sync.c */
void gr_room_on_messages(gr_room *, gr_ctx *, const gr_room_messages *);             /* page.c */
void gr_room_on_context(gr_room *, gr_ctx *, const gr_room_context *);               /* context.c */
void gr_room_on_timestamp(gr_room *, gr_ctx *, const gr_room_timestamp *);
void gr_room_on_event(gr_room *, gr_ctx *, const gr_room_event *);                   /* summary.c */
void gr_room_on_state_get(gr_room *, gr_ctx *, const gr_room_state_get *);
void gr_room_on_state_all(gr_room *, gr_ctx *, const gr_room_state_all *);
void gr_room_on_members(gr_room *, gr_ctx *, const gr_room_members *);
void gr_room_on_joined_members(gr_room *, gr_ctx *, const gr_room_joined_members *);
void gr_room_on_audience(gr_room *, gr_ctx *, const gr_room_audience *);
void gr_room_on_receipt(gr_room *, gr_ctx *, const gr_room_receipt *);               /* receipts.c */
void gr_room_on_typing(gr_room *, gr_ctx *, const gr_room_typing *);
void gr_room_on_timer(gr_room *, gr_ctx *, gr_str name);
void gr_room_on_relations(gr_room *, gr_ctx *, const gr_room_relations *);           /* relations.c */
void gr_room_on_threads(gr_room *, gr_ctx *, const gr_room_threads *);
void gr_room_on_summary(gr_room *, gr_ctx *, const gr_room_summary *);               /* summary.c */
