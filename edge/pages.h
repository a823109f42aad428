/* pages.h - answers that a room gives in pages, put together for the client.
 *
 * The state and the members of a large room are too much for one message: each page says where the next begins.  Together
 * they are bounded by http.max_answer.
 */
#pragma once
#include "edge/call.h"

/* Pieces of one JSON list in the order they came; in the call's arena. */
typedef struct gr_piece gr_piece;
struct gr_piece { gr_piece *next; gr_str text; };
typedef struct { gr_piece *first, **last; size_t size; } gr_pieces;

/* Keeps a copy of items that stand between commas; nothing of an empty text.  False: together they are too large for an
 * answer, and the call was failed. */
bool gr_pieces_add(gr_call *, gr_pieces *, gr_str items);
/* The items, with commas between pieces. */
void gr_pieces_write(const gr_pieces *, gr_buf *out);

/* Asks a room and passes its answer on, asking on as long as there are pages (result, room_piece or error).  body and page,
 * which is its field `page`, live in the call's arena.  The call's state is taken over. */
void gr_pages_pass(gr_call *, gr_str room, const gr_type *, const void *body, gr_str *page);
