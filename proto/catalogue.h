/* catalogue.h - every message there is: the structs, their numbers, and where their fields are listed.
 *
 * GR_RECORDS and GR_MESSAGES of each catalogue_<actor>.h name the types; GR_FIELDS_<type>(F, L) lists the fields:
 *     F(kind, name, class, since)      kind: str u64 i64 bool strs u64s
 *     L(record, name, class, since)    a list of records: gr_<record> *at, size_t count
 * Type room_send gives the struct gr_room_send, the number GR_T_room_send and the table gr_type_room_send.
 * since is the feature level (level.h) that brought a field; new ones go at the end with a higher one. A type is as old as
 * its first field, so a new type has one. Numbers are never reused.
 */
#pragma once
#include "proto/message.h"
#include "proto/catalogue_common.h"
#include "proto/catalogue_echo.h"
#include "proto/catalogue_room.h"
#include "proto/catalogue_user.h"
#include "proto/catalogue_feed.h"
#include "proto/catalogue_login.h"
#include "proto/catalogue_misc.h"
#include "proto/catalogue_federation.h"
#include "proto/catalogue_membership.h"
#include "proto/catalogue_remote.h"
#include "proto/catalogue_oauth.h"

/* R(name, doc) */
#define GR_RECORDS(R) \
    GR_RECORDS_ROOM(R) GR_RECORDS_USER(R) GR_RECORDS_FEED(R) GR_RECORDS_LOGIN(R) GR_RECORDS_MISC(R) GR_RECORDS_FEDERATION(R) \
    GR_RECORDS_MEMBERSHIP(R) GR_RECORDS_REMOTE(R) GR_RECORDS_OAUTH(R)
/* M(number, name, is_operator, doc) */
#define GR_MESSAGES(M) \
    GR_MESSAGES_COMMON(M) GR_MESSAGES_ECHO(M) GR_MESSAGES_ROOM(M) GR_MESSAGES_USER(M) GR_MESSAGES_FEED(M) GR_MESSAGES_LOGIN(M) \
    GR_MESSAGES_MISC(M) GR_MESSAGES_FEDERATION(M) GR_MESSAGES_MEMBERSHIP(M) GR_MESSAGES_REMOTE(M) \
    GR_MESSAGES_OAUTH(M)

typedef gr_str gr_ctype_str;
typedef uint64_t gr_ctype_u64;
typedef int64_t gr_ctype_i64;
typedef bool gr_ctype_bool;
typedef gr_strs gr_ctype_strs;
typedef gr_u64s gr_ctype_u64s;

#define GR_STRUCT_FIELD(kind, name, class, since) gr_ctype_##kind name;
#define GR_STRUCT_LIST(record, name, class, since) struct { struct gr_##record *at; size_t count; } name;
#define GR_STRUCT(type) typedef struct gr_##type { GR_FIELDS_##type(GR_STRUCT_FIELD, GR_STRUCT_LIST) char end_; } gr_##type;
#define GR_STRUCT_RECORD(name, doc) GR_STRUCT(name) extern const gr_type gr_type_##name;
#define GR_STRUCT_MESSAGE(number, name, op, doc) GR_STRUCT(name) extern const gr_type gr_type_##name;
GR_RECORDS(GR_STRUCT_RECORD)
GR_MESSAGES(GR_STRUCT_MESSAGE)

enum {
#define GR_NUMBER(number, name, op, doc) GR_T_##name = number,
    GR_MESSAGES(GR_NUMBER)
#undef GR_NUMBER
};
