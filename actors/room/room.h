/* room.h - the room actor: one room's event graph, state, members and positions, and how they are stored.
 *
 * All in the room's own keyspace, numbers big-endian.  Event ids, (type, state_key) pairs and users are numbers of the room
 * inside records.  "n" is an event number, given in order of arrival; "pos" a room position, the order in which readers see
 * things; the current state is one trie root (trie.h).
 *
 *   m                     the fields of gr_room named below: written by every batch that changes it
 *   i <event id>          -> n
 *   e <n>                 -> gr_room_record header, event id, canonical JSON (record.h)
 *   p <pos>               -> kind, n (0 for GR_POS_STATE), root of the current state after it (what /sync walks)
 *   d <depth> <pos>       -> n                pagination order (stream events only)
 *   k <type> 0 <key>      -> key number;      K <number> -> type 0 key
 *   t <node>              -> a trie node
 *   c <n>                 -> the place of a state event in the chain cover, and its links (chain.h)
 *   C <chain>             -> n of the chain's newest event, when it has more than one
 *   Z                     -> how far the cover of a room that had none is (cover.c)
 *   M                     -> where the current state is moving to, in steps, and how far it is (gr_room_moving)
 *   W <number>            -> a post that waits for a state to be resolved: type, level, attachment, body (waiting.c)
 *   F                     -> position at which history begins: what was before it was purged
 *   U                     -> how far a purge is (purge.c)
 *   G                     -> how far unused nodes are swept;   g <node / 1024> -> marks of those in use (sweep.c)
 *   u <user>              -> membership, n of the member event, since pos (gr_room_member)
 *   h <user>              -> nothing: a member who is a guest
 *   w <user> 0 <pos>      -> membership from this position on: the user's own intervals
 *   v <pos>               -> history visibility from this position on
 *   V                     -> nothing: some state of the room, of whatever branch, hides history from members
 *   x <user> 0 <device> 0 <txn>   -> event id, time (transaction ids; swept after a day)
 *   X <n>                 -> device 0 txn: the transaction that made the event, as the client named it
 *   r <user> 0 <type> 0 <thread>  -> ts, pos read up to, receipt pos, event id
 *   R <receipt pos>       -> the key of the r row: what /sync reads
 *   f                     -> receipt pos up to which feeds were told
 *   l <target n> <pos>    -> relation of the event there: n, rel_type 0 type 0 sender 0 key (aggregations, threads); gone when
 *                            it is redacted
 *   O <event id> 0 <n>    -> nothing: n relates to an event that is not here;   j <event id>: it came, and not all are done
 *   L <target n> <sender> 0 <type> 0 <key>  -> n of the annotation: nobody annotates twice with the same key
 *   T <pos>               -> n of the root: threads by their newest event;   y <root n> -> that pos
 *   a <alias>             -> who made it: local aliases
 *   P <event id> 0 <n>    -> nothing: redaction n waits for this event to come
 *   z <ms> <n>            -> nothing: n was redacted then, and keeps its content for a while
 *   s <shard>             -> number of local users joined, 4 bytes (who get feed posts)
 *   S                     -> for each shard that holds other servers of members: its number and theirs (servers.c)
 *   n <server>            -> how many of its users are joined;   N <server> 0 <user>: nothing: one who is or was
 *   b <depth> <n>         -> event ids, with 0 between, that n follows and that are not here: a backward extremity
 *   B <event id> 0 <n>    -> depth of n, which waits for this event
 *   D <n>                 -> nothing: an extremity that gave way: there were too many, or the room was entered again
 *   1 <event id>          -> number of a staged event (row I) that is kept aside until the policy server was asked (policy.h)
 *   I, J, H, E, A, Z      events of other servers that are not in the room yet: incoming.h
 *   -                     events of the state that it was entered without: left_out.h
 *   Q <name>              -> a root that no event has yet
 *   Y                     -> users of other servers are being told whether they share this room with users here: the last one
 *   o                     -> the next position for history, downward; only in rooms joined through another server
 *
 * Files: room.c (load, dispatch, inspect), record.c, trie.c, state.c (keys and current state), build.c (make and accept an
 * event), receive.c (events of other servers: receive.h), incoming.c and gap.c (how they come: incoming.h), given.c, backward.c,
 * resolve.c, resolving.c and waiting.c (state resolution), apply.c, move.c and moved.c (the current state), cover.c (chain
 * cover: chain.c, chain_query.c), extremity.c, sweep.c (unused nodes), purge.c, upkeep.c, create.c, member.c, resident.c
 * (members of other servers: resident.h), entering.c (joined through another server: entering.h), left_out.c, guests.c, send.c,
 * transactions.c, upgrade.c, feed.c (posts to feeds and users), servers.c (who else is in the room, and posts to them),
 * outgoing.c, remotes.c; for reading: view.c (visibility, rendering), page.c, members.c, sync.c, receipts.c, serve.c (for other
 * servers: serve.h), reading.c (large reads, on the pool).
 */
#pragma once
#include "actors/env.h"
#include "actors/room/trie.h"
#include "proto/auth.h"
#include "proto/ident.h"

enum {
    GR_ROOM_EXTREMITIES_MAX = 64,      /* forward; wide forks are healed by dummy events: extremity.c */
    GR_ROOM_PAGE_MAX = 1000,           /* events in one answer */
    GR_ROOM_CREATE_INVITES = 16,       /* of createRoom, in the batch that makes the room; the flow sends the rest */
    GR_ROOM_TXN_KEEP_MS = 24 * 3600 * 1000,
    GR_ROOM_THREAD_HOPS = 3            /* from an event to one that is in a thread */
};

#define GR_ROOM_ROW_EVENT_ID "i"       /* the letter of these rows, for who looks for the room of an event */

/* Flags of a stored event. */
enum {
    GR_ROOM_ACCEPTED = 1, GR_ROOM_REJECTED = 2, GR_ROOM_SOFT_FAILED = 4, GR_ROOM_OUTLIER = 8,
    GR_ROOM_REDACTED = 16,
    GR_ROOM_GIVEN = 64,                /* another server told the state before it */
    GR_ROOM_HISTORY = 128,             /* not of the stream: its position lies before */
    GR_ROOM_MENDED = 256               /* the state before it got what was left out of an older one: left_out.h */
};

/* The header of a stored event: readable without its JSON. */
typedef struct {
    uint32_t flags;
    uint64_t number;                   /* n */
    uint64_t depth, pos, ts;           /* pos 0: not in the stream (outlier, rejected, dummy) */
    uint64_t key;                      /* number of (type, state_key); 0: no state event */
    uint64_t state_before, state_after;        /* trie roots; 0: the empty state (or unknown: an outlier) */
    uint64_t powers;                   /* n of the power levels before it; 0: none */
    uint64_t redacted_by;              /* n of the redaction */
    gr_str event_id, type, sender, state_key;      /* views into the record */
    bool is_state;
    gr_str json;                       /* canonical JSON, without unsigned */
} gr_room_record;

typedef enum { GR_MEMBER_NONE, GR_MEMBER_LEAVE, GR_MEMBER_INVITE, GR_MEMBER_JOIN, GR_MEMBER_KNOCK, GR_MEMBER_BAN } gr_membership;

typedef enum { GR_VISIBLE_SHARED, GR_VISIBLE_WORLD, GR_VISIBLE_INVITED, GR_VISIBLE_JOINED } gr_visibility;

typedef enum { GR_POS_EVENT = 1, GR_POS_STATE = 2, GR_POS_GAP = 3 } gr_pos_kind;

/* A forward extremity: an event that no other names as its predecessor. */
typedef struct { uint64_t number, root, depth; gr_str id; } gr_room_extremity;   /* root: of the state after it; id: owned */

/* The current state moves to another one in steps (move.c).  RESOLVING: target is not known yet; TELLING: it is there. */
typedef enum { GR_MOVING_NOT, GR_MOVING_RESOLVING, GR_MOVING_ROWS, GR_MOVING_TELLING } gr_room_moving_phase;
typedef struct { gr_room_moving_phase phase; uint64_t target, from, cursor; } gr_room_moving;

/* History or the whole room is being taken away (purge.h). */
typedef enum { GR_PURGE_NOTHING, GR_PURGE_MEMBERS, GR_PURGE_ROOM, GR_PURGE_STREAM, GR_PURGE_HISTORY } gr_room_purge_phase;
typedef struct {
    gr_room_purge_phase phase;
    uint64_t next, until, done;        /* positions; how many events or rows are gone.  Of a room: until 1: force */
    uint8_t shards[GR_SHARDS / 8];     /* whose feeds know the room */
    gr_str cursor;                     /* where the next step begins; owned */
} gr_room_purge;

typedef enum { GR_ROOM_UNKNOWN, GR_ROOM_NONE, GR_ROOM_SOME } gr_room_any;

typedef struct gr_room gr_room;
struct gr_room {
    gr_str id;                         /* owned */
    bool exists;
    const gr_room_version *version;
    /* the meta record */
    uint64_t next_number, next_key, next_node, next_pos, next_receipt;       /* each starts at 1 */
    uint64_t root;                     /* of the current state */
    uint64_t depth;                    /* of the deepest event */
    uint64_t joined, invited;          /* members, local and remote */
    gr_room_extremity *extremities;    /* owned */
    size_t extremity_count;
    bool encrypted, published;
    gr_visibility visibility;
    gr_str create_key;                 /* idempotency key of room_create; owned */
    gr_room_moving moving;             /* row M */
    uint64_t floor;                    /* row F: history begins here */
    gr_room_purge purge;               /* row U */
    /* memory only */
    uint32_t local_joined[GR_SHARDS];  /* joined local users per shard; stored as rows s */
    uint32_t servers[GR_SHARDS];       /* other servers with joined users, per shard of theirs; row S */
    struct gr_room_typist *typing;     /* list of (user, until): receipts.c */
    uint64_t typing_told_ms;
    uint64_t tried;                    /* the staged event that could not be taken the last time: incoming.c */
    unsigned tries;
    bool pending_receipts;             /* a timer is set that tells feeds of new ones */
    struct gr_room_reading *readings;  /* who waits for the pool: reading.c */
    struct gr_room_resolving *resolving;       /* states given to the pool, and what came back: resolving.c */
    struct gr_room_incoming_open *incoming;    /* who waits for events to be checked: incoming.c */
    uint64_t staged_next;              /* number of the next event that is staged; 0: not known */
    uint64_t ready_from;               /* none that is to be taken has a number below this */
    gr_room_any staged_wait, stream_waits, left_out;   /* are there rows E; are there rows B; are there rows - */
    gr_room_any aside;                 /* are there rows 1 */
    uint64_t policy_away_until_ms;     /* the policy server could not be reached: it is left alone until then */
    struct gr_room_portion *portion;   /* of what a move changes: moved.c */
    struct gr_room_giving *giving;     /* a state that another server told is being made: gap.c */
    uint64_t parsed;                   /* events of states and auth chains so far */
    struct gr_room_entering *entering; /* somebody joins it through another server: entering.h */
    struct gr_room_waiting *waiting;   /* asks that wait for them: waiting.c */
    bool must_wait;                    /* the message that is handled: it is kept, and handled again */
    bool unbounded;                    /* states are resolved and moved at once, however much it is: for tests of the graph */
    struct gr_room_txns *txns;         /* which transaction ids there may be: transactions.c */
    struct gr_room_cache *cache;       /* parsed events of the current state, keys and nodes: cache.h */
};

extern const gr_actor_kind gr_room_kind;

/* upkeep.c: what goes from room to room, and what rooms do by timers: sweeping unused nodes, redaction at rest, purging. */
#define GR_ROOM_UPKEEP_COVER "room-cover"
#define GR_ROOM_UPKEEP_STATES "room-states"
#define GR_ROOM_UPKEEP_REDACTIONS "room-redactions"
#define GR_ROOM_UPKEEP_PURGES "room-purges"
extern const gr_actor_upkeep gr_room_upkeep[];
void gr_room_on_upkeep(gr_room *, gr_ctx *, gr_str name);

/* --- state.c: keys, members, and what the room's state is ------------------------------------------------------- */
typedef struct {
    gr_membership membership;
    uint64_t number;                   /* n of the member event */
    uint64_t since;                    /* room position at which this membership began */
} gr_room_member_row;

void gr_room_drop_extremities(gr_room *);                                 /* in memory */
void gr_room_load(void *self, gr_str id, gr_ctx *);
void gr_room_drop(void *self);
void gr_room_save(gr_room *, gr_ctx *);                                   /* the meta record */
void gr_room_save_moving(gr_room *, gr_ctx *);

/* Keys of rows, in the arena of ctx: one letter, then numbers big-endian or parts with a 0 between. */
gr_str gr_room_key(gr_ctx *, char letter, gr_str text);
gr_str gr_room_key_number(gr_ctx *, char letter, uint64_t number);
gr_str gr_room_key_numbers(gr_ctx *, char letter, uint64_t a, uint64_t b);
gr_str gr_room_key_parts(gr_ctx *, char letter, size_t count, const gr_str *parts);
/* w <user> 0 <pos> */
gr_str gr_room_key_interval(gr_ctx *, gr_str user, uint64_t pos);

/* The number of (type, state_key): 0 when the room has never seen it. */
uint64_t gr_room_key_of(gr_room *, gr_ctx *, gr_str type, gr_str state_key);
/* The same; gives it one when it has none.  *made tells whether it was new. */
uint64_t gr_room_key_make(gr_room *, gr_ctx *, gr_str type, gr_str state_key, bool *made);
bool gr_room_key_text(gr_ctx *, uint64_t key, gr_str *type, gr_str *state_key);       /* views in the arena of ctx */

/* A trie over this room's nodes; nodes must stay where it is while the trie is used. */
typedef struct { gr_room *room; gr_ctx *ctx; } gr_room_nodes;
gr_trie gr_room_trie(gr_room_nodes *nodes, gr_room *, gr_ctx *);

bool gr_room_record_at(gr_ctx *, uint64_t number, gr_room_record *);      /* e<n>; views in the arena of ctx */
bool gr_room_number_of(gr_ctx *, gr_str event_id, uint64_t *number);      /* i<event id> */
/* The same of an event that others will cite, too: the room remembers it. */
bool gr_room_number_cited(gr_room *, gr_ctx *, gr_str event_id, uint64_t *number);
/* A row that never changes once it is there (i, c, k), read from the store or remembered; in the arena of ctx. */
bool gr_room_fact(gr_room *, gr_ctx *, gr_str key, gr_str *value);
/* p<pos>: false when there is none. */
bool gr_room_pos_at(gr_ctx *, uint64_t pos, gr_pos_kind *, uint64_t *number, uint64_t *root);
/* A stored event parsed into the arena, as redaction leaves it when it was redacted. */
bool gr_room_event_of(const gr_room *, gr_arena *, const gr_room_record *, gr_event *out);
/* The event of the current state with this key; NULL when there is none.  Cached: valid during the handler. */
const gr_event *gr_room_state(gr_room *, gr_ctx *, gr_str type, gr_str state_key);
/* The same in the state of a root; in the arena of ctx. */
const gr_event *gr_room_state_at(gr_room *, gr_ctx *, uint64_t root, gr_str type, gr_str state_key);
/* n of the event with this key in the state of a root; 0 when there is none. */
uint64_t gr_room_state_number(gr_room *, gr_ctx *, uint64_t root, gr_str type, gr_str state_key);
bool gr_room_member_at(gr_ctx *, gr_str user, gr_room_member_row *);      /* u<user>; zeroed when there is none */
gr_membership gr_room_membership(gr_ctx *, gr_str user);
gr_membership gr_membership_of(gr_str text);
const char *gr_membership_text(gr_membership);                            /* "leave" for GR_MEMBER_NONE */
gr_visibility gr_visibility_of(gr_str text);                              /* "shared" for what is unknown */
bool gr_room_is_local(gr_ctx *, gr_str user);
bool gr_room_has_locals(const gr_room *);                                 /* somebody of this server is joined */
/* The current state as the callbacks of proto/auth.h want it. */
gr_auth_state gr_room_auth_state(gr_room_nodes *nodes, gr_room *, gr_ctx *);
/* The state of a root likewise; then must stay where it is while it is used. */
typedef struct { gr_room *room; gr_ctx *ctx; uint64_t root; } gr_room_then;
gr_auth_state gr_room_auth_state_at(gr_room_then *then, gr_room *, gr_ctx *, uint64_t root);

/* --- what the files of the write side offer each other ------------------------------------------------------------ */
/* build.c: an event to be made here. */
typedef struct {
    gr_str sender, type, state_key;
    bool has_state_key;
    gr_str content;                    /* JSON text of an object */
    gr_str redacts;
    uint64_t ts;                       /* 0: now */
} gr_room_draft;

typedef struct {
    uint64_t number, pos;
    gr_str event_id;                   /* in the arena of ctx */
    gr_event event;                    /* valid during the handler; json is NULL for events built here */
    gr_room_record record;
    gr_membership before;              /* m.room.member: membership before it */
    bool key_is_new;                   /* the room had never seen its (type, state_key) */
    bool is_current;                   /* it is part of the current state now */
    bool is_ours;                      /* made here just now: other servers hear of it from us */
    uint64_t state_pos;                /* of the state-only entry, when the state changed by more than this event; or 0 */
    uint64_t moved_from;               /* the root before that entry */
} gr_room_made;

/* Makes, authorises, signs and applies an event of a local user on top of the extremities.  Leaves rows, no posts.
 * A failure leaves nothing behind. */
GR_MUST_USE gr_err gr_room_build(gr_room *, gr_ctx *, const gr_room_draft *, gr_room_made *);
/* The same event, signed, but not taken. */
GR_MUST_USE gr_err gr_room_sign(gr_room *, gr_ctx *, const gr_room_draft *, gr_event_built *);
/* The same event for another server to finish: text without hashes, signatures and id. */
GR_MUST_USE gr_err gr_room_plan(gr_room *, gr_ctx *, const gr_room_draft *, gr_str *text);
/* Stores an event that has been checked and judged (flags), wherever in the graph its prev_events put it. */
GR_MUST_USE gr_err gr_room_accept(gr_room *, gr_ctx *, const gr_event *, gr_str text, uint32_t flags, gr_room_made *);
/* The state before an event with these predecessors.  GR_UNAVAILABLE: one of them is not known, or (room->must_wait) it is
 * to be resolved on the pool: a handler that ends then with gr_room_fail runs again when that is done. */
GR_MUST_USE gr_err gr_room_state_before(gr_room *, gr_ctx *, gr_strs prevs, uint64_t *root);

/* feed.c: what others hear.  The user actor of a local target of a member event; with forward it answers the present ask. */
void gr_room_post_membership(gr_room *, gr_ctx *, const gr_room_made *, bool forward);
/* A member here whose membership another state has changed; is_there: by this event, else there is none any more. */
void gr_room_post_moved_member(gr_room *, gr_ctx *, const gr_event *, bool is_there, uint64_t pos);
/* A state-only entry that came alone. */
void gr_room_post_moved(gr_room *, gr_ctx *, uint64_t pos);
/* Every feed that has a reader, and that of a local target; other servers, of what was made here; and the directory, when the
 * room is listed there. */
void gr_room_post_feeds(gr_room *, gr_ctx *, const gr_room_made *);
/* The root of the thread that an event with this content is in; empty: it is in the main timeline. */
gr_str gr_room_thread_of(gr_room *, gr_ctx *, const gr_json *content);
/* Stripped state, for invites and knocks: of these types, with the inviter and the member event; a JSON array. */
enum { GR_ROOM_STRIPPED_TYPES = 7 };
extern const char *const gr_room_stripped_types[GR_ROOM_STRIPPED_TYPES];
gr_str gr_room_stripped(gr_room *, gr_ctx *, const gr_event *member);
void gr_room_post_listing(gr_room *, gr_ctx *);

/* room.c: the ways in which a handler of the write side ends.  Tell saves and posts; finish also answers room_sent; forward:
 * through the user actor of the target.  Fail undoes all that the handler left, in memory too. */
void gr_room_tell(gr_room *, gr_ctx *, const gr_room_made *, bool forward);
void gr_room_finish(gr_room *, gr_ctx *, const gr_room_made *, bool forward);
void gr_room_answer_sent(gr_room *, gr_ctx *, gr_str event_id, uint64_t pos);
void gr_room_fail(gr_room *, gr_ctx *, gr_err);

/* send.c, member.c, create.c, publish.c: one function per message. */
void gr_room_on_send(gr_room *, gr_ctx *, const struct gr_room_send *);
void gr_room_on_member(gr_room *, gr_ctx *, const struct gr_room_member *);
void gr_room_on_allows(gr_room *, gr_ctx *);
void gr_room_on_profile(gr_room *, gr_ctx *, const struct gr_room_profile *);
void gr_room_on_forget(gr_room *, gr_ctx *, const gr_room_forget *);
void gr_room_on_create(gr_room *, gr_ctx *, const struct gr_room_create *);
void gr_room_on_keys_changed(gr_room *, gr_ctx *, const struct gr_room_keys_changed *);
void gr_room_on_publish(gr_room *, gr_ctx *, const struct gr_room_publish *);
void gr_room_on_listing(gr_room *, gr_ctx *);
void gr_room_on_alias(gr_room *, gr_ctx *, const struct gr_room_alias *);
void gr_room_on_aliases(gr_room *, gr_ctx *, const struct gr_room_aliases *);
void gr_room_on_replace(gr_room *, gr_ctx *, const struct gr_room_replace *);                /* upgrade.c */
void gr_room_on_close(gr_room *, gr_ctx *, const struct gr_room_close *);
void gr_room_on_children(gr_room *, gr_ctx *, const struct gr_room_children *);
/* member.c, for the state API: a member event with this content; same rules. */
void gr_room_member_by_content(gr_room *, gr_ctx *, const struct gr_room_send *);
/* restricted.c: must a member vouch for this user's join; who does (empty: nobody need), FORBIDDEN or
 * UNABLE_TO_GRANT_JOIN; and the rooms whose members may join. */
bool gr_room_must_vouch(gr_room *, gr_ctx *, gr_str user);
GR_MUST_USE gr_err gr_room_vouch(gr_room *, gr_ctx *, gr_str user, gr_strs member_of, gr_str *by);
gr_strs gr_room_allowed_by(gr_room *, gr_ctx *);
/* transactions.c: the event that this transaction made before; false when it is new.  And remembers one. */
bool gr_room_txn_seen(gr_room *, gr_ctx *, gr_str user, gr_str device, gr_str txn, gr_str *event_id, uint64_t *pos);
void gr_room_txn_keep(gr_room *, gr_ctx *, gr_str user, gr_str device, gr_str txn, const gr_room_made *);
/* Forgets some that are older than a day; true: there may be more. */
bool gr_room_txn_sweep(gr_ctx *, uint64_t *forgotten);
size_t gr_room_txns_memory(const gr_room *);
void gr_room_txns_drop(gr_room *);
