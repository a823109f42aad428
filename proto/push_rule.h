/* push_rule.h - push rules ready to be evaluated: the inside of push*.c only. */
#pragma once
#include "proto/push.h"

enum { GR_PUSH_PATH_MAX = 16, GR_PUSH_DEFAULTS = 15, GR_PUSH_DEFAULT_OVERRIDES = 10 };

typedef enum {
    GR_PUSH_NEVER,        /* a condition this server does not know */
    GR_PUSH_MATCH,        /* event_match */
    GR_PUSH_IS,           /* event_property_is */
    GR_PUSH_CONTAINS,     /* event_property_contains */
    GR_PUSH_DISPLAY_NAME, /* contains_display_name */
    GR_PUSH_MEMBER_COUNT, /* room_member_count */
    GR_PUSH_SENDER_POWER  /* sender_notification_permission for "room" */
} gr_push_test;

typedef enum { GR_PUSH_EQ, GR_PUSH_LT, GR_PUSH_GT, GR_PUSH_LE, GR_PUSH_GE } gr_push_compare;

typedef struct {
    gr_push_test test;
    gr_str key;         /* as clients write it */
    const gr_str *path; /* and split at its dots */
    size_t path_count;
    gr_str pattern;       /* of event_match; of the others the string that is wanted when value is NULL */
    const gr_json *value; /* of event_property_is and _contains */
    bool of_reader;       /* pattern or value is the id of the reader */
    gr_push_compare compare;
    uint64_t number;
} gr_push_condition;

typedef struct {
    gr_str rule_id;
    bool enabled;
    const gr_push_condition *conditions;
    size_t condition_count;
    bool notify, highlight;
    gr_str sound;
} gr_push_rule;

struct gr_push_rules {
    const gr_push_rule *at; /* the most important first, kinds in their order */
    size_t count;
    gr_str user;
};

typedef enum {
    GR_PUSH_OVERRIDE,
    GR_PUSH_CONTENT,
    GR_PUSH_ROOM,
    GR_PUSH_SENDER,
    GR_PUSH_UNDERRIDE,
    GR_PUSH_KINDS
} gr_push_kind;

/* push_rules.c: the server's own. Overrides come first; number 0 is the master rule. */
extern const gr_push_rule gr_push_defaults[GR_PUSH_DEFAULTS];
const char *gr_push_kind_name(gr_push_kind);
bool gr_push_kind_find(gr_str name, gr_push_kind *);
gr_push_kind gr_push_default_kind(size_t number);
const gr_push_rule *gr_push_default_find(gr_push_kind, gr_str rule_id); /* NULL: there is none */
/* Conditions and actions of one of the server's rules as JSON arrays. */
void gr_push_print_conditions(gr_jw *, const gr_push_rule *, gr_str user);
void gr_push_print_actions(gr_jw *, const gr_push_rule *);

/* push_match.c */
bool gr_push_holds(const gr_push_condition *, const gr_push_rules *, const gr_json *event,
                   const gr_push_who *);
/* From the JSON of a condition; everything it points to is in the arena or in the JSON. */
gr_push_condition gr_push_condition_read(gr_arena *, const gr_json *);
gr_push_condition gr_push_condition_of(gr_push_kind, gr_str rule_id,
                                       gr_str pattern); /* of content, room and sender rules */
/* Glob over characters, ignoring case. words: any part of text that starts and ends at a word boundary may
 * match. literal:
 * '*' and '?' stand for themselves. */
bool gr_push_glob(gr_str pattern, gr_str text, bool words, bool literal);

/* push.c: what is stored, read; NULL when it is empty or can't be read. */
const gr_json *gr_push_stored(gr_arena *, gr_str stored);
const gr_json *gr_push_stored_rule(const gr_json *stored, gr_push_kind, gr_str rule_id);
