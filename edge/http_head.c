/* http_head.c - scanning, parsing and judging a request's head. See http_head.h.
 *
 * The scan looks at raw bytes and refuses what http_parser would let pass (bare LF and CR, NUL, folded
 * lines); http_parser then finds the fields; gr_http_check_head judges their meaning.
 */
#include "edge/http_head.h"

#include <http_parser.h>
#include <strings.h>

static const char *const methods[GR_HTTP_METHOD_COUNT] = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "",
};

static bool is_token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool gr_http_is_token(gr_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!is_token_char((unsigned char)s.ptr[i])) return false;
    return s.size > 0;
}

bool gr_http_same_name(gr_str s, const char *name)
{
    size_t size = strlen(name);
    return s.size == size && strncasecmp(s.ptr, name, size) == 0;
}

gr_str gr_http_header_get(const gr_http_req *req, const char *name)
{
    for (size_t i = 0; i < req->header_count; i++)
        if (gr_http_same_name(req->headers[i].name, name)) return req->headers[i].value;
    return (gr_str){0};
}

/* --- scanning ------------------------------------------------------------------------------------------- */
/* The line that ends with the LF at index end (exclusive of it, CR included). Status, or 0 to go on. */
static int end_line(gr_http_scan *s, uint32_t end, const gr_http_limits *limits)
{
    s->cr = 0;
    if (end - s->line_start == 1 && s->lines) return 200;
    s->line_start = end + 1;
    s->lines++;
    return s->lines > limits->header_count_max + 1 ? 431 : 0;
}

/* Status for a byte that is neither CR nor LF, or 0 when it may stand there. */
static int text_byte(const gr_http_scan *s, unsigned char c)
{
    if (c >= 0x20 && c != 0x7f && c != ' ') return 0;
    if (c != ' ' && c != '\t') return 400;
    if (s->seen == s->line_start) return 400;                  /* a folded line, RFC 9112 5.2 */
    return s->lines == 0 && c == '\t' ? 400 : 0;
}

int gr_http_scan_head(gr_http_scan *s, gr_str bytes, const gr_http_limits *limits)
{
    for (; s->seen < bytes.size; s->seen++) {
        unsigned char c = (unsigned char)bytes.ptr[s->seen];
        if (s->lines == 0 && s->seen >= limits->line_max) return 414;
        if (s->seen >= limits->head_max) return 431;
        int status = 0;
        if (s->cr) {
            if (c != '\n') return 400;
            status = end_line(s, s->seen, limits);
            if (status == 200) s->seen++;
        } else if (c == '\r') {
            if (s->seen == 0) return 400;
            s->cr = 1;
        } else if (c <= 0x20 || c == 0x7f) {
            status = text_byte(s, c);
        }
        if (status) return status;
    }
    return 0;
}

/* --- parsing -------------------------------------------------------------------------------------------- */
typedef struct { gr_http_header *room; size_t count; bool complete; } fields;

static int on_field(http_parser *p, const char *at, size_t size)
{
    fields *f = p->data;
    if (f->count == GR_HTTP_HEADERS_MAX) return 1;
    f->room[f->count++] = (gr_http_header){{at, size}, {at + size, 0}};
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t size)
{
    fields *f = p->data;
    if (f->count == 0) return 1;
    while (size && (at[size - 1] == ' ' || at[size - 1] == '\t')) size--;
    f->room[f->count - 1].value = (gr_str){at, size};
    return 0;
}

static int on_complete(http_parser *p)
{
    ((fields *)p->data)->complete = true;
    return 1;                                                  /* the body is not http_parser's business */
}

/* Fields of a head, from the blank after the method on. A GET is put before it: http_parser knows no method
 * of its own choice, and treats CONNECT's target in its own way. */
static bool parse_fields(gr_str after_method, fields *f)
{
    static const http_parser_settings settings = {
        .on_header_field = on_field, .on_header_value = on_value, .on_headers_complete = on_complete,
    };
    http_parser p;
    http_parser_init(&p, HTTP_REQUEST);
    p.data = f;
    if (http_parser_execute(&p, &settings, "GET", 3) != 3) return false;
    size_t done = http_parser_execute(&p, &settings, after_method.ptr, after_method.size);
    return f->complete && done == after_method.size && (HTTP_PARSER_ERRNO(&p) == HPE_OK || p.upgrade);
}

static bool starts_case(gr_str s, const char *prefix)
{
    size_t size = strlen(prefix);
    return s.size >= size && strncasecmp(s.ptr, prefix, size) == 0;
}

static void take_target(gr_http_req *req, gr_str target)
{
    size_t scheme = starts_case(target, "http://") ? 7 : starts_case(target, "https://") ? 8 : 0;
    if (scheme) {
        gr_str rest = gr_str_from(target, scheme);
        size_t size = 0;
        while (size < rest.size && rest.ptr[size] != '/' && rest.ptr[size] != '?') size++;
        req->authority = (gr_str){target.ptr + scheme, size};
        target = (gr_str){target.ptr + scheme + size, target.size - scheme - size};
    }
    ptrdiff_t mark = gr_str_find(target, '?');
    req->has_query = mark >= 0;
    req->path = mark < 0 ? target : gr_str_head(target, (size_t)mark);
    req->query = mark < 0 ? (gr_str){0} : gr_str_from(target, (size_t)mark + 1);
    if (scheme && req->path.size == 0) req->path = GR_STR("/");
}

/* METHOD SP target SP HTTP/d.d, exactly one blank each. */
static bool parse_line(gr_str line, gr_http_req *req)
{
    ptrdiff_t blank = gr_str_find(line, ' ');
    if (blank < 1) return false;
    req->method_name = gr_str_head(line, (size_t)blank);
    gr_str rest = gr_str_from(line, (size_t)blank + 1);
    blank = gr_str_find(rest, ' ');
    if (blank < 1) return false;
    gr_str version = gr_str_from(rest, (size_t)blank + 1);
    if (version.size != 8 || memcmp(version.ptr, "HTTP/", 5) || version.ptr[6] != '.') return false;
    char major = version.ptr[5], minor = version.ptr[7];
    if (major < '0' || major > '9' || minor < '0' || minor > '9') return false;
    req->version_known = major == '1' && (minor == '0' || minor == '1');
    req->version_minor = (uint8_t)(minor - '0');
    req->method = GR_HTTP_OTHER;
    for (int m = 0; m < GR_HTTP_OTHER; m++)
        if (gr_str_is(req->method_name, methods[m])) req->method = (gr_http_method)m;
    take_target(req, gr_str_head(rest, (size_t)blank));
    return gr_http_is_token(req->method_name);
}

/* Is word among the comma-separated tokens of value? */
static bool has_token(gr_str value, const char *word)
{
    while (value.size) {
        ptrdiff_t comma = gr_str_find(value, ',');
        gr_str one = comma < 0 ? value : gr_str_head(value, (size_t)comma);
        value = comma < 0 ? (gr_str){0} : gr_str_from(value, (size_t)comma + 1);
        while (one.size && (one.ptr[0] == ' ' || one.ptr[0] == '\t'))
            one = (gr_str){one.ptr + 1, one.size - 1};
        while (one.size && (one.ptr[one.size - 1] == ' ' || one.ptr[one.size - 1] == '\t')) one.size--;
        if (gr_http_same_name(one, word)) return true;
    }
    return false;
}

/* What the fields say about the body and the connection; whether they may is for gr_http_check_head. */
static void take_framing(gr_http_req *req)
{
    bool close = false, keep = false, expect = false;
    for (size_t i = 0; i < req->header_count; i++) {
        gr_str name = req->headers[i].name, value = req->headers[i].value;
        if (gr_http_same_name(name, "content-length")) {
            if (!gr_str_u64(value, &req->declared)) req->declared = UINT64_MAX;
        } else if (gr_http_same_name(name, "transfer-encoding")) {
            req->chunked = true;
        } else if (gr_http_same_name(name, "connection")) {
            close |= has_token(value, "close");
            keep |= has_token(value, "keep-alive");
        } else if (gr_http_same_name(name, "expect")) {
            expect = true;
        }
    }
    req->length = req->chunked ? -1 : req->declared > INT64_MAX ? INT64_MAX : (int64_t)req->declared;
    req->keep_alive = !close && (req->version_minor == 1 || keep);
    req->expects_continue = expect && req->version_minor == 1 && req->length != 0;
}

bool gr_http_parse_head(gr_str head, gr_http_header *room, gr_http_req *req)
{
    *req = (gr_http_req){.headers = room, .tls = req->tls, .door = req->door, .peer = req->peer};
    ptrdiff_t cr = gr_str_find(head, '\r');
    if (cr < 0 || !parse_line(gr_str_head(head, (size_t)cr), req)) return false;
    if (!req->version_known) return true;
    fields f = {.room = room};
    if (!parse_fields(gr_str_from(head, req->method_name.size), &f)) return false;
    req->header_count = f.count;
    take_framing(req);
    return true;
}

/* --- judging -------------------------------------------------------------------------------------------- */
static bool is_authority(gr_str s)
{
    for (size_t i = 0; i < s.size; i++) {
        char c = s.ptr[i];
        if (!is_token_char((unsigned char)c) && !strchr(":[]()=,;", c)) return false;
    }
    return true;
}

static bool is_field_value(gr_str s)
{
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

static bool is_target(gr_str s)
{
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)s.ptr[i] <= 0x20 || s.ptr[i] == 0x7f) return false;
    return true;
}

static bool target_ok(const gr_http_req *req, gr_str host)
{
    if (!gr_http_is_token(req->method_name) || !is_target(req->path) || !is_target(req->query)) return false;
    if (gr_str_is(req->path, "*")) return req->method == GR_HTTP_OPTIONS && req->query.size == 0;
    if (req->path.size == 0 || req->path.ptr[0] != '/') return false;
    if (req->authority.ptr == NULL) return true;
    /* Two names for one request are one too many when they differ: a proxy may have believed the other. */
    return req->authority.size && is_authority(req->authority) &&
           (host.ptr == NULL ||
            (host.size == req->authority.size && !strncasecmp(host.ptr, req->authority.ptr, host.size)));
}

int gr_http_check_head(const gr_http_req *req)
{
    if (!req->version_known) return 505;
    unsigned hosts = 0, lengths = 0, codings = 0;
    bool bad_expect = false;
    gr_str host = {0};
    for (size_t i = 0; i < req->header_count; i++) {
        gr_str name = req->headers[i].name, value = req->headers[i].value;
        if (!gr_http_is_token(name) || !is_field_value(value)) return 400;
        if (gr_http_same_name(name, "host")) {
            hosts++;
            host = value;
            if (!is_authority(value)) return 400;
        } else if (gr_http_same_name(name, "content-length")) {
            uint64_t length;
            lengths++;
            if (!gr_str_u64(value, &length)) return 400;
        } else if (gr_http_same_name(name, "transfer-encoding")) {
            codings++;
            if (!gr_http_same_name(value, "chunked")) return 400;
        } else if (gr_http_same_name(name, "expect")) {
            bad_expect |= !gr_http_same_name(value, "100-continue");
        }
    }
    if (hosts > 1 || lengths > 1 || codings > 1 || (lengths && codings)) return 400;
    if (hosts == 0 && req->version_minor == 1) return 400;
    if (codings && req->version_minor == 0) return 400;
    if (!target_ok(req, host)) return 400;
    return bad_expect && req->version_minor == 1 ? 417 : 0;
}
