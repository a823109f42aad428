/* event.h - persistent events: parsing with limits, hashes, redaction, event ids, building and checking.
 *
 * Server-server API, "PDUs" and "Signing Events"; per-version differences come from proto/room_version.h.
 * A gr_event is a read-only view into a JSON tree in an arena and lives as long as that arena.  The room
 * actor builds events, incoming federation checks them, and proto/auth.h decides about them.
 */
#pragma once
#include "proto/room_version.h"
#include "proto/sign.h"

enum {
    GR_EVENT_SIZE_MAX = 65536,        /* canonical JSON with signatures, bytes */
    GR_EVENT_FIELD_MAX = 255,         /* sender, room_id, type, state_key, event ids; bytes */
    GR_EVENT_PREV_MAX = 20,
    GR_EVENT_AUTH_MAX = 10,
    GR_EVENT_HASH = 32,
    GR_EVENT_ORDER_MAX = 100
};

typedef struct {
    const gr_room_version *version;
    const gr_json *json;              /* the whole event */
    gr_str event_id;
    /* for a create event of a version that hashes: derived from the event id */
    gr_str room_id;
    gr_str type, sender, state_key;
    bool has_state_key;               /* is a state event; its key may be empty */
    const gr_json *content;           /* an object, never NULL */
    /* m.room.redaction: the target, wherever the version puts it; else empty */
    gr_str redacts;
    int64_t depth, origin_server_ts;
    gr_strs prev_events, auth_events; /* event ids */
} gr_event;

/* false for NULL and non-state events */
bool gr_event_is(const gr_event *, const char *type, const char *state_key);

/* --- reading --- */
/* Text from outside: parses by the version's JSON rules, checks format and limits, computes the event id.
 * GR_NOT_JSON, GR_BAD_JSON, GR_TOO_LARGE, with a text that names the field.  *out is zeroed on failure. */
GR_MUST_USE gr_err gr_event_parse(gr_arena *, const gr_room_version *, gr_str text, gr_event *out);
/* The same from a tree that was parsed already, in either mode; the size is measured by printing. */
GR_MUST_USE gr_err gr_event_from_json(gr_arena *, const gr_room_version *, const gr_json *, gr_event *out);
/* Text that this server stored: event_id and room_id are known, nothing is hashed.  Fails as gr_event_parse
 * does. */
GR_MUST_USE gr_err gr_event_load(gr_arena *, const gr_room_version *, gr_str event_id, gr_str room_id,
                                 gr_str text, gr_event *out);

/* --- hashes and redaction; json is any object, checked or not --- */
void gr_event_content_hash(const gr_json *, unsigned char out[GR_EVENT_HASH]);
void gr_event_reference_hash(const gr_room_version *, const gr_json *, unsigned char out[GR_EVENT_HASH]);
/* hashed or its event_id field */
gr_str gr_event_id(gr_arena *, const gr_room_version *, const gr_json *);
/* The event id that goes with a reference hash, where the version hashes. */
gr_str gr_event_id_of_hash(gr_arena *, const gr_room_version *, const unsigned char hash[GR_EVENT_HASH]);
/* Canonical text of the event as redaction leaves it; with hashes and signatures, without unsigned. */
gr_str gr_event_redact(gr_arena *, const gr_room_version *, const gr_json *);

/* --- building --- */
typedef struct {
    const gr_room_version *version;
    gr_str room_id;                   /* empty for a create event of a version that hashes */
    gr_str sender, type;
    bool has_state_key;
    gr_str state_key;
    gr_str content;                   /* JSON text of an object; need not be canonical */
    gr_str redacts;                   /* with m.room.redaction: put where the version wants it */
    gr_strs prev_events, auth_events;
    /* base64 reference hashes, only where edges_carry_hashes; same counts */
    gr_strs prev_hashes, auth_hashes;
    gr_str event_id;                  /* only where the version lets the origin choose */
    gr_str nonce;                     /* makes the hashes unlike those of any other event; or empty */
    int64_t depth;                    /* clamped to the version's depth_max */
    int64_t origin_server_ts;
} gr_event_fields;

typedef struct {
    gr_str text;                      /* the canonical, hashed and signed PDU */
    gr_str event_id, room_id;
    const gr_json *content;           /* parsed content */
} gr_event_built;

/* One content hash, one reference hash, one signature.  GR_NOT_JSON or GR_BAD_JSON: content;
 * GR_TOO_LARGE: the event or a field.  Everything in *out lives in the arena. */
GR_MUST_USE gr_err gr_event_build(gr_arena *, const gr_event_fields *, const gr_signer *,
                                  gr_event_built *out);
/* The unsigned event of make_join and make_knock ("template"): canonical text without hashes, signatures,
 * event id. */
GR_MUST_USE gr_err gr_event_template(gr_arena *, const gr_event_fields *, gr_str *text);
/* Hashes and signs a whole event given as a tree (a template that came back, an invite to countersign). A
 * content hash that is there is kept, so that a second server's signature covers the same event. */
GR_MUST_USE gr_err gr_event_sign(gr_arena *, const gr_room_version *, const gr_json *, const gr_signer *,
                                 gr_event_built *out);

/* The canonical text of the event with more signatures, {server: {key id: signature}}: of the same key the new one counts. */
gr_str gr_event_add_signatures(gr_arena *, const gr_json *event, const gr_json *given);

/* --- checking what came from another server --- */
/* Servers whose signature an event needs: the sender's, by version that of the event id, and for a
 * restricted join that of the authorising user.  An invite from a third-party invite needs none. */
gr_strs gr_event_signers(gr_arena *, const gr_event *);

typedef enum { GR_EVENT_WHOLE, GR_EVENT_REDACTED } gr_event_shape;
/* Steps 1 to 3 of the checks on receipt: format, signatures, content hash.  When the hash does not fit,
 * *out is the redacted copy and *shape says so.  *text is the canonical text to store (without unsigned).
 * GR_INVALID_SIGNATURE: drop it. */
GR_MUST_USE gr_err gr_event_check(gr_arena *, const gr_room_version *, const gr_json *, const gr_key_ring *,
                                  gr_event *out, gr_str *text, gr_event_shape *shape);

/* Has the entity signed the event with just this key, in base64?  json: the event with its signatures. */
bool gr_event_has_signature(gr_arena *, const gr_room_version *, const gr_json *, gr_str entity, gr_str key_id,
                            gr_str public_key);

/* Places of these (at most GR_EVENT_ORDER_MAX, of one answer or transaction) such that each comes after those it follows
 * and those that authorise it; else they keep their order.  Of a cycle the first begins. */
void gr_event_order(gr_arena *, const gr_event *const *events, size_t count, size_t *order);
