/* stream.c - answers sent piece by piece. See stream.h. */
#include "edge/edge.h"
#include "edge/stream.h"

#include <stdlib.h>

/* Lives as long as the HTTP server may pull, which may be longer than the call. */
struct gr_call_stream {
    gr_call *call;                     /* NULL: it is over */
    gr_buf text;
    size_t sent;
    bool is_over, is_asking;
    void (*more)(gr_call *);
};

/* Asks for what follows; true when that was written at once. */
static bool get_more(struct gr_call_stream *s)
{
    gr_buf_clear(&s->text);
    s->sent = 0;
    if (!s->call || s->is_over || s->is_asking) return false;
    s->is_asking = true;
    s->more(s->call);
    return s->text.size > 0;
}

static int64_t pull(void *arg, char *dst, size_t room)
{
    struct gr_call_stream *s = arg;
    if (s->sent == s->text.size && !get_more(s)) return !s->call || s->is_over ? -1 : 0;
    size_t left = s->text.size - s->sent, size = left < room ? left : room;
    memcpy(dst, s->text.ptr + s->sent, size);
    s->sent += size;
    return (int64_t)size;
}

static void pulled(void *arg, bool whole)
{
    struct gr_call_stream *s = arg;
    (void)whole;
    if (s->call) gr_call_streamed(s->call);
    gr_buf_free(&s->text);
    free(s);
}

void gr_stream_begin(gr_call *call, gr_str text, void (*more)(gr_call *))
{
    static const gr_http_header json_type = {{"Content-Type", 12}, {"application/json", 16}};
    struct gr_call_stream *s = call->stream = gr_alloc(sizeof *s);
    *s = (struct gr_call_stream){.call = call, .more = more};
    gr_buf_str(&s->text, text);
    gr_call_reply_on(call, &(gr_http_answer){.status = 200, .headers = &json_type, .header_count = 1, .pull = pull,
                                             .pull_length = -1, .pull_done = pulled, .pull_ctx = s});
}

void gr_stream_write(gr_call *call, gr_str text)
{
    struct gr_call_stream *s = call->stream;
    gr_buf_str(&s->text, text);
    s->is_asking = false;
    gr_http_resume(call->edge->http, call->id);
}

void gr_stream_end(gr_call *call)
{
    call->stream->is_over = true;
    gr_http_resume(call->edge->http, call->id);
}

void gr_stream_drop(gr_call *call)
{
    if (call->stream) call->stream->call = NULL;
    call->stream = NULL;
}
