/* auth_rules.h - what the parts of event authorisation share; for auth*.c only. */
#pragma once
#include "proto/auth.h"

/* One decision. */
typedef struct {
    gr_arena *arena;
    const gr_event *event;
    const gr_auth_state *state;
    gr_powers powers;
} gr_auth_case;

/* A refusal with this text. */
gr_err gr_auth_deny(const gr_auth_case *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Refuses unless the sender has at least `needed`: "You can't <what>: your power level 0 is below 50". */
gr_err gr_auth_need_power(const gr_auth_case *, int64_t needed, const char *what);
int64_t gr_auth_sender_power(const gr_auth_case *);
gr_str gr_auth_level_text(const gr_auth_case *, int64_t level);

/* auth_member.c, auth_power.c: the rules of m.room.member and m.room.power_levels. */
gr_err gr_auth_check_member(const gr_auth_case *);
gr_err gr_auth_check_powers(const gr_auth_case *);
