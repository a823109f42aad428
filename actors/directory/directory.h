/* directory.h - the directories: directory/rooms lists published rooms, directory/users the local users, directory/reports
 * what users reported, directory/registration_tokens with what tokens people may register.
 *
 * Rooms and users post what is shown of them; questions are answered by work over a snapshot of the own keyspace, so that
 * nothing grows in memory with the number of entries.
 *
 *   e <room id or user id>    what was posted (gr_directory_put, gr_directory_user)
 *   r <number>                a report (gr_report_put)
 *   t <token>                 a registration token (gr_registration_token_put)
 */
#pragma once
#include "bus/actor.h"

enum {
    GR_DIRECTORY_PAGE_MAX = 500, GR_DIRECTORY_ASKERS_MAX = 256,
    GR_REPORTS_MAX = 10000,            /* kept; the oldest go first */
    GR_REPORTS_PAGE = 20
};

extern const gr_actor_kind gr_directory_kind;

/* The scans behind the two questions; input: the encoded question, output: JSON. */
extern const gr_work gr_directory_rooms_work, gr_directory_users_work;

/* reports.c */
void gr_directory_on_report(const gr_report_put *, gr_ctx *);
void gr_directory_on_report_list(const gr_report_list *, gr_ctx *);

/* --- registration_tokens.c --- */
enum { GR_REGISTRATION_TOKEN_MAX = 64, GR_REGISTRATION_TOKENS_PAGE = 200 };
void gr_directory_on_registration_token(const gr_registration_token_put *, gr_ctx *);
void gr_directory_on_registration_token_drop(const gr_registration_token_drop *, gr_ctx *);
void gr_directory_on_registration_token_list(const gr_registration_token_list *, gr_ctx *);
