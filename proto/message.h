/* message.h - messages between actors: the envelope, and bodies described by tables of fields.
 *
 * A body is a plain C struct (gr_room_send) whose fields are listed once, in proto/catalogue*.h; one loop each encodes,
 * decodes, prints, compares and documents from that list.  On the wire everything is msgpack arrays: fields beyond those
 * known are ignored, missing ones are zero, so nodes of neighbouring versions understand each other.
 */
#pragma once
#include "proto/err.h"

enum { GR_WIRE_VERSION = 1, GR_MESSAGE_MAX = 1 << 20, GR_LIST_MAX = 65536 };
/* Of what stays within the process: all levels there are. */
enum { GR_LEVEL_ALL = INT32_MAX };

typedef enum { GR_TELL = 1, GR_ASK = 2, GR_POST = 3, GR_REPLY = 4, GR_CONTROL = 5 } gr_verb;

typedef enum {
    GR_FIELD_STR, GR_FIELD_U64, GR_FIELD_I64, GR_FIELD_BOOL, GR_FIELD_STRS, GR_FIELD_U64S, GR_FIELD_LIST
} gr_field_kind;

/* plain: may be logged; content: logged as length and hash; secret: never logged, zeroed after use. */
typedef enum { GR_CLASS_PLAIN, GR_CLASS_CONTENT, GR_CLASS_SECRET } gr_field_class;

typedef struct gr_type gr_type;
typedef struct {
    const char *name;
    gr_field_kind kind;
    size_t offset;
    gr_field_class class;
    unsigned since;                /* feature level that brought it */
    const gr_type *record;         /* GR_FIELD_LIST: what it lists */
} gr_field;

struct gr_type {
    unsigned id;                   /* on the wire, fixed for ever; 0 for records */
    const char *name;
    size_t size;                   /* of the C struct */
    const gr_field *(*fields)(void);    /* field_count of them */
    size_t field_count;
    bool is_operator;              /* may be sent by hand without --force */
    const char *doc;
};

/* A list of records as it stands in a body: at[0..count-1]. */
typedef struct { void *at; size_t count; } gr_list;

typedef struct {
    uint64_t trace, span, parent;  /* what caused what */
    gr_str from, to;               /* addresses */
    gr_verb verb;
    uint64_t seq;                  /* ask and reply: correlation; post: its number in (sender shard, receiver shard) */
    uint64_t incarnation;          /* post: of the sender's shard */
    uint64_t wait_ms;              /* ask: how long the asker waits for an answer; else 0. A duration: clocks of nodes differ */
    unsigned type;
    gr_str body;                   /* encoded fields */
    gr_str attachment;             /* stored bytes spliced in when sent (an event); may be empty */
    gr_str reply_to;               /* a forwarded reply: who asked, when the post's receiver is to answer; may be empty */
    uint64_t reply_seq;
    unsigned level;                /* feature level at which the body was written; 0 stands for 1 */
    uint64_t sent_us;              /* when it left for another node, by the sender's clock; else 0. For the message log only */
} gr_envelope;

/* All types by id and by name; NULL when there is none. */
const gr_type *gr_type_find(unsigned id);
const gr_type *gr_type_named(gr_str name);
const gr_type *const *gr_type_all(size_t *count);

/* The feature level that brought the type. */
unsigned gr_type_since(const gr_type *);

/* With all fields: for what does not leave the process. */
void gr_body_encode(gr_buf *, const gr_type *, const void *body);
/* Without the fields that came after that feature level. */
void gr_body_encode_at(gr_buf *, const gr_type *, const void *body, unsigned level);
/* Decodes into the arena; strings point into bytes.  GR_BAD_JSON when it is no such body. */
GR_MUST_USE gr_err gr_body_decode(gr_arena *, const gr_type *, gr_str bytes, void **body);
bool gr_body_equal(const gr_type *, const void *, const void *);
/* The same for equal bodies: for the digest of an actor whose state is one. */
uint64_t gr_body_hash(const gr_type *, const void *body);
/* One line of JSON for people. Content as {"size":..,"hash":..} and secrets as "***" unless content is asked for. */
void gr_body_print(gr_buf *, const gr_type *, const void *body, bool with_content);
/* The other way, for messages sent by hand: JSON object -> body. Unknown members are GR_INVALID_PARAM naming them. */
GR_MUST_USE gr_err gr_body_parse(gr_arena *, const gr_type *, gr_str json, void **body);

void gr_envelope_encode(gr_buf *, const gr_envelope *);
GR_MUST_USE gr_err gr_envelope_decode(gr_str bytes, gr_envelope *);    /* views into bytes */
void gr_catalogue_document(gr_buf *);                                   /* docs/messages.md */
