/* chain_check.c - is an event's place in the chain cover right? See chain.h. */
#include "actors/room/chain_inside.h"

static bool is_among(gr_u64s list, uint64_t event)
{
    for (size_t i = 0; i < list.count; i++)
        if (list.at[i] == event) return true;
    return false;
}

static bool reaches(const gr_chain *c, gr_arena *a, uint64_t event, uint64_t other)
{
    bool found;
    return gr_chain_reaches(c, a, event, other, &found) && found;
}

static bool can_have_place(chain_reader *r, uint64_t event, gr_u64s auth)
{
    if (auth.count > GR_CHAIN_AUTH_MAX) return false;
    for (size_t i = 0; i < auth.count; i++)
        if (auth.at[i] == 0 || auth.at[i] >= event || !gr_chain_row(r, auth.at[i])) return false;
    return true;
}

static bool is_linked_well(const gr_chain *c, gr_arena *a, const chain_row *row, gr_u64s auth)
{
    for (size_t i = 0; i < row->links.count; i++) {
        uint64_t link = row->links.at[i];
        bool by_chain = row->full && row->before && reaches(c, a, row->before, link);
        if (!is_among(auth, link) && !by_chain) return false;
    }
    return true;
}

const char *gr_chain_fault(const gr_chain *c, gr_arena *a, uint64_t event, gr_u64s auth)
{
    chain_reader r = {.c = c, .arena = a};
    const chain_row *row = gr_chain_row(&r, event);
    bool can = can_have_place(&r, event, auth);
    if (!row) return can ? "the event has no place in the chain cover" : NULL;
    if (!can) return "the chain cover knows the event, but not all that it cites";
    const chain_row *before = row->before ? gr_chain_row(&r, row->before) : NULL;
    bool begins = row->before == 0 && row->chain == event && row->seq == 1;
    bool goes_on = before && is_among(auth, row->before) && row->chain == before->chain && row->seq == before->seq + 1;
    if (!begins && !goes_on) return "the event's place in the chain cover is wrong";
    if (!is_linked_well(c, a, row, auth)) return "the chain cover links to what is not in the auth chain";
    for (size_t i = 0; i < auth.count; i++)
        if (!reaches(c, a, event, auth.at[i])) return "the chain cover lacks part of the auth chain";
    return NULL;
}

uint64_t gr_chain_before(const gr_chain *c, gr_arena *a, uint64_t event)
{
    chain_reader r = {.c = c, .arena = a};
    const chain_row *row = gr_chain_row(&r, event);
    return row ? row->before : 0;
}
