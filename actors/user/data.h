/* data.h - what belongs to a user beside account and rooms: account data, push rules, filters,
 * notifications. See user.h.
 *
 * Called by user.c only.  Files: account_data.c, push_rules.c, filters.c, notifications.c.
 */
#pragma once
#include "actors/user/user.h"

enum {
    GR_USER_DATA_MAX = 256 * 1024,         /* bytes of account data of one type */
    GR_USER_DATA_TYPE_MAX = 255,
    GR_USER_TAG_MAX = 255,
    GR_USER_FILTER_MAX = 64 * 1024,
    GR_USER_NOTIFICATIONS_MAX = 100        /* of one page */
};

/* --- account_data.c --- */
void gr_user_on_account_data_put(gr_user *, const gr_user_account_data_put *, gr_ctx *);
void gr_user_on_account_data_get(gr_user *, const gr_user_account_data_get *, gr_ctx *);
void gr_user_on_tag_put(gr_user *, const gr_user_tag_put *, gr_ctx *);
void gr_user_on_tag_delete(gr_user *, const gr_user_tag_delete *, gr_ctx *);
void gr_user_on_tag_list(gr_user *, const gr_user_tag_list *, gr_ctx *);
/* Copies account data of one room to another that has none of that type. */
void gr_user_account_data_move(gr_user *, gr_ctx *, gr_str type, gr_str from, gr_str to);
/* Where m.direct lists a room it lists the other one too. */
void gr_user_account_data_direct(gr_user *, gr_ctx *, gr_str room_id, gr_str added);

/* --- push_rules.c --- */
void gr_user_on_push_rules_get(gr_user *, const gr_user_push_rules_get *, gr_ctx *);
void gr_user_on_push_rule_put(gr_user *, const gr_user_push_rule_put *, gr_ctx *);
void gr_user_on_push_rule_delete(gr_user *, const gr_user_push_rule_delete *, gr_ctx *);
/* What is stored of them (see push.h; empty: the defaults), and the position of their newest change (0:
 * never). */
gr_str gr_user_push_rules(gr_ctx *, uint64_t *position);
/* Rules about one room are made for the other one too. */
void gr_user_push_rules_copy(gr_user *, gr_ctx *, gr_str from, gr_str to);

/* --- filters.c --- */
void gr_user_on_filter_put(gr_user *, const gr_user_filter_put *, gr_ctx *);
void gr_user_on_filter_get(gr_user *, const gr_user_filter_get *, gr_ctx *);

/* --- notifications.c --- */
void gr_user_on_notifications(gr_user *, const gr_user_notifications *, gr_ctx *);
