/* pages.c - asking page after page. See pages.h. */
#include "edge/pages.h"

bool gr_pieces_add(gr_call *c, gr_pieces *p, gr_str items)
{
    if (items.size == 0) return true;
    p->size += items.size + 1;
    if (p->size > gr_call_config(c)->http_max_answer) {
        gr_call_fail_with(c, GR_TOO_LARGE, "The answer is larger than this server sends: load members lazily");
        return false;
    }
    gr_piece *piece = gr_arena_alloc(c->arena, sizeof *piece);
    *piece = (gr_piece){NULL, gr_call_keep(c, items)};
    if (!p->first) p->last = &p->first;
    *p->last = piece;
    p->last = &piece->next;
    return true;
}

void gr_pieces_write(const gr_pieces *p, gr_buf *out)
{
    for (const gr_piece *piece = p->first; piece; piece = piece->next) {
        if (piece != p->first) gr_buf_char(out, ',');
        gr_buf_str(out, piece->text);
    }
}

typedef struct {
    gr_str room, head, *page;
    const gr_type *type;
    const void *body;
    gr_pieces items;
} pages;

static void on_page(gr_call *c, const gr_answer *a);

static void ask(gr_call *c)
{
    pages *p = c->state;
    gr_call_ask(c, p->room, p->type, p->body, on_page);
}

static void on_page(gr_call *c, const gr_answer *a)
{
    pages *p = c->state;
    if (gr_failed(a->err) || a->type != &gr_type_room_piece) {
        gr_call_passed(c, a);
        return;
    }
    const gr_room_piece *piece = a->body;
    if (p->page->size == 0) p->head = gr_call_keep(c, piece->head);
    if (!gr_pieces_add(c, &p->items, piece->items)) return;
    *p->page = gr_call_keep(c, piece->next);
    if (piece->next.size) {
        ask(c);
        return;
    }
    gr_buf out = {0};
    gr_buf_str(&out, p->head);
    gr_pieces_write(&p->items, &out);
    gr_buf_str(&out, piece->tail);
    gr_call_json_take(c, 200, &out);
}

void gr_pages_pass(gr_call *c, gr_str room, const gr_type *type, const void *body, gr_str *page)
{
    pages *p = gr_arena_alloc(c->arena, sizeof *p);
    *p = (pages){.room = gr_call_keep(c, room), .type = type, .body = body, .page = page};
    c->state = p;
    ask(c);
}
