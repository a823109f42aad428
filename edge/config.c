/* config.c - defaults, values from text, and what only shows in the whole. See config.h. */
#include "edge/config.h"

#include "proto/ident.h"
#include "edge/ip_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
    const char *name;
    double factor;
} unit;
static const unit sizes[] = {{"B", 1},           {"KB", 1024},          {"MB", 1048576},
                             {"GB", 1073741824}, {"TB", 1099511627776}, {0}};
static const unit durations[] = {{"ms", 1},       {"s", 1000},      {"m", 60000}, {"h", 3600000},
                                 {"d", 86400000}, {"w", 604800000}, {0}};

static bool lower_eq(gr_str a, const char *b)
{
    if (a.size != strlen(b)) return false;
    for (size_t i = 0; i < a.size; i++)
        if ((a.ptr[i] | 0x20) != (b[i] | 0x20)) return false;
    return true;
}

static gr_str trim(gr_str s)
{
    while (s.size && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s = gr_str_from(s, 1);
    while (s.size && (s.ptr[s.size - 1] == ' ' || s.ptr[s.size - 1] == '\t')) s.size--;
    return s;
}

/* A whole number with a unit behind it.  without: what a bare number counts (0: only a bare 0 is taken). */
static bool with_unit(gr_str text, const unit *units, double without, double *out)
{
    size_t digits = 0;
    uint64_t n;
    while (digits < text.size && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') digits++;
    if (!gr_str_u64(gr_str_head(text, digits), &n)) return false;
    gr_str name = trim(gr_str_from(text, digits));
    if (name.size == 0) {
        *out = (double)n * without;
        return without > 0 || n == 0;
    }
    for (const unit *u = units; u->name; u++)
        if (lower_eq(name, u->name)) {
            *out = (double)n * u->factor;
            return true;
        }
    return false;
}

static gr_str number_text(gr_arena *a, const gr_config_key *key, double value)
{
    const unit *units = NULL;
    if (key->type == GR_CONFIG_SIZE) units = sizes;
    if (key->type == GR_CONFIG_DURATION) units = durations;
    if (!units || value == 0) return gr_arena_printf(a, "%.10g", value);
    const unit *best = units;
    for (const unit *u = units; u->name; u++)
        if (fmod(value, u->factor) == 0) best = u;
    return gr_arena_printf(a, "%.10g%s", value / best->factor, best->name);
}

static gr_err out_of_range(gr_arena *a, const gr_config_key *key)
{
    return gr_failf(a, GR_INVALID_PARAM, "%s must be from %s to %s", key->name,
                    number_text(a, key, key->low).ptr, number_text(a, key, key->high).ptr);
}

static gr_err set_number(gr_config *c, const gr_config_key *key, gr_str text, void *field)
{
    double value = 0;
    uint64_t whole;
    bool good = false;
    const char *wanted = "a whole number";
    switch (key->type) {
    case GR_CONFIG_SIZE:
        good = with_unit(text, sizes, 1, &value);
        wanted = "a size with its unit (KB, MB, GB), for example 256MB";
        break;
    case GR_CONFIG_DURATION:
        good = with_unit(text, durations, 0, &value);
        wanted = "a duration with its unit (ms, s, m, h, d, w), for example 10m";
        break;
    case GR_CONFIG_REAL: {
        char *copy = gr_str_dup(text), *end;
        value = strtod(copy, &end);
        good = text.size && end == copy + text.size && isfinite(value) && gr_str_find(text, ' ') < 0;
        free(copy);
        wanted = "a number, for example 1.5";
        break;
    }
    default: good = gr_str_u64(text, &whole); value = (double)whole;
    }
    if (!good)
        return gr_failf(c->memory, GR_INVALID_PARAM, "%s must be %s, not \"%" GR_FMT "\"", key->name, wanted,
                        GR_ARG(text));
    if (value < key->low || value > key->high) return out_of_range(c->memory, key);
    if (key->type == GR_CONFIG_REAL) *(double *)field = value;
    else *(uint64_t *)field = (uint64_t)value;
    return gr_ok();
}

/* The place of text among "a|b|c", or -1. */
static int choice_of(const char *choices, gr_str text)
{
    int place = 0;
    for (gr_str rest = gr_str_c(choices); rest.size; place++) {
        ptrdiff_t bar = gr_str_find(rest, '|');
        gr_str one = bar < 0 ? rest : gr_str_head(rest, (size_t)bar);
        if (gr_str_eq(one, text)) return place;
        rest = gr_str_from(rest, one.size + 1);
    }
    return -1;
}

static gr_err set_choice(gr_config *c, const gr_config_key *key, gr_str text, void *field)
{
    int place = choice_of(key->choices, text);
    if (place < 0)
        return gr_failf(c->memory, GR_INVALID_PARAM, "%s must be %s, not \"%" GR_FMT "\"", key->name,
                        gr_config_type_name(key), GR_ARG(text));
    if (key->type == GR_CONFIG_WORD) *(const char **)field = gr_arena_str(c->memory, text).ptr;
    else *(uint32_t *)field = (uint32_t)place;
    return gr_ok();
}

static gr_err set_switch(gr_config *c, const gr_config_key *key, gr_str text, void *field)
{
    bool on = lower_eq(text, "on") || lower_eq(text, "true") || lower_eq(text, "yes");
    if (!on && !lower_eq(text, "off") && !lower_eq(text, "false") && !lower_eq(text, "no"))
        return gr_failf(c->memory, GR_INVALID_PARAM, "%s must be on or off, not \"%" GR_FMT "\"", key->name,
                        GR_ARG(text));
    *(bool *)field = on;
    return gr_ok();
}

/* "127.0.0.1:8008", "[::1]:8008" or "name:8008". */
static bool split_address(gr_str text, gr_str *host, uint16_t *port)
{
    size_t colon = text.size;
    uint64_t number;
    while (colon > 0 && text.ptr[colon - 1] != ':') colon--;
    if (colon < 2 || !gr_str_u64(gr_str_from(text, colon), &number) || number > UINT16_MAX) return false;
    *port = (uint16_t)number;
    *host = gr_str_head(text, colon - 1);
    if (host->ptr[0] == '[') {
        char raw[INET6_ADDRSTRLEN] = "";
        struct in6_addr address;
        if (host->size < 4 || host->size - 2 >= sizeof raw || host->ptr[host->size - 1] != ']') return false;
        *host = gr_str_of(host->ptr + 1, host->size - 2);
        memcpy(raw, host->ptr, host->size);
        return inet_pton(AF_INET6, raw, &address) == 1;
    }
    bool digits = true;
    for (size_t i = 0; i < host->size; i++) {
        char b = host->ptr[i];
        bool digit = (b >= '0' && b <= '9') || b == '.';
        digits = digits && digit;
        if (!digit && b != '-' && !((b | 0x20) >= 'a' && (b | 0x20) <= 'z')) return false;
    }
    char raw[INET_ADDRSTRLEN] = "";
    struct in_addr address;
    if (!digits) return true;
    if (host->size >= sizeof raw) return false;
    memcpy(raw, host->ptr, host->size);
    return inet_pton(AF_INET, raw, &address) == 1;
}

static gr_err set_address(gr_config *c, const gr_config_key *key, gr_str text, void *field)
{
    gr_config_address *address = field;
    gr_str host = {0};
    uint16_t port = 0;
    if (gr_str_is(text, "off")) {
        *address = (gr_config_address){0};
        return gr_ok();
    }
    if (!split_address(text, &host, &port))
        return gr_failf(c->memory, GR_INVALID_PARAM,
                        "%s must be an address and a port like 127.0.0.1:8008 or [::1]:8008, "
                        "or off, not \"%" GR_FMT "\"",
                        key->name, GR_ARG(text));
    *address = (gr_config_address){gr_arena_str(c->memory, host).ptr, port};
    return gr_ok();
}

/* Appendices, "Server Name": a host, IPv4 or [IPv6], perhaps a port; at most 230 bytes so that ids fit. */
static bool server_name_good(gr_str name)
{
    gr_str host = name;
    ptrdiff_t colon = gr_str_find(name, ':');
    if (name.size == 0 || name.size > 230) return false;
    if (name.ptr[0] == '[') {
        ptrdiff_t end = gr_str_find(name, ']');
        if (end < 4) return false;
        for (ptrdiff_t i = 1; i < end; i++)
            if (!strchr("0123456789abcdefABCDEF:.", name.ptr[i])) return false;
        colon = (size_t)end + 1 < name.size ? end + 1 : -1;
        if (colon >= 0 && name.ptr[colon] != ':') return false;
        host = (gr_str){0};
    }
    if (colon >= 0) {
        uint64_t port;
        gr_str digits = gr_str_from(name, (size_t)colon + 1);
        if (digits.size > 5 || !gr_str_u64(digits, &port) || port > UINT16_MAX || colon == 0) return false;
        host.size = host.size ? (size_t)colon : 0;
    }
    for (size_t i = 0; i < host.size; i++) {
        char b = host.ptr[i];
        if (!(b >= '0' && b <= '9') && !((b | 0x20) >= 'a' && (b | 0x20) <= 'z') && b != '-' && b != '.')
            return false;
    }
    return true;
}

static bool url_good(gr_str url)
{
    gr_str rest = gr_str_starts(url, GR_STR("https://"))  ? gr_str_from(url, 8)
                  : gr_str_starts(url, GR_STR("http://")) ? gr_str_from(url, 7)
                                                          : (gr_str){0};
    for (size_t i = 0; i < rest.size; i++)
        if ((unsigned char)rest.ptr[i] <= ' ' || strchr("\"<>\\", rest.ptr[i])) return false;
    return rest.size > 0 && rest.ptr[0] != '/';
}

static gr_err set_text(gr_config *c, const gr_config_key *key, gr_str text, void *field)
{
    const char *wanted = NULL;
    if (text.size == 0 && key->otherwise[0] == 0) wanted = NULL; /* optional and left empty */
    else if (key->type == GR_CONFIG_SERVER_NAME && !server_name_good(text))
        wanted = "a host name like example.org, perhaps with :port";
    else if (key->type == GR_CONFIG_URL && !url_good(text))
        wanted = "an address like https://matrix.example.org";
    else if (text.size == 0) wanted = "a text that is not empty";
    else if (memchr(text.ptr, 0, text.size) || !gr_str_utf8(text)) wanted = "plain UTF-8 text";
    if (wanted && key->type == GR_CONFIG_SECRET)
        return gr_failf(c->memory, GR_INVALID_PARAM, "%s must be %s", key->name, wanted);
    if (wanted)
        return gr_failf(c->memory, GR_INVALID_PARAM, "%s must be %s, not \"%" GR_FMT "\"", key->name, wanted,
                        GR_ARG(text));
    if (key->type == GR_CONFIG_PATH && text.size && text.ptr[0] != '/')
        text = gr_arena_printf(c->memory, "%s/%" GR_FMT, c->dir, GR_ARG(text));
    *(const char **)field = gr_arena_str(c->memory, text).ptr;
    return gr_ok();
}

/* Entries separated by commas; blanks around them don't count. */
static gr_err set_list(gr_config *c, const gr_config_key *key, gr_str text, void *field)
{
    gr_err err = gr_ok();
    size_t room = 1, count = 0;
    for (size_t i = 0; i < text.size; i++) room += text.ptr[i] == ',';
    const char **at = gr_arena_alloc(c->memory, room * sizeof *at);
    while (text.size) {
        ptrdiff_t comma = gr_str_find(text, ',');
        gr_str one = comma < 0 ? text : gr_str_head(text, (size_t)comma);
        text = gr_str_from(text, one.size + 1);
        one = trim(one);
        if (one.size) at[count++] = gr_arena_str(c->memory, one).ptr;
        if (one.size && key->check && !gr_failed(err)) err = key->check(c->memory, one);
    }
    if (!gr_failed(err)) *(gr_config_list *)field = (gr_config_list){at, count};
    return err;
}

/* base: the configuration, or a row of a table. */
static gr_err set_key(gr_config *c, void *base, const gr_config_key *key, gr_str text)
{
    void *field = (char *)base + key->offset;
    switch (key->type) {
    case GR_CONFIG_COUNT:
    case GR_CONFIG_REAL:
    case GR_CONFIG_SIZE:
    case GR_CONFIG_DURATION: return set_number(c, key, text, field);
    case GR_CONFIG_CHOICE:
    case GR_CONFIG_WORD: return set_choice(c, key, text, field);
    case GR_CONFIG_SWITCH: return set_switch(c, key, text, field);
    case GR_CONFIG_ADDRESS: return set_address(c, key, text, field);
    case GR_CONFIG_LIST: return set_list(c, key, text, field);
    case GR_CONFIG_TABLE:
        return text.size == 0 ? gr_ok() : gr_failf(c->memory, GR_INVALID_PARAM, "%s must be a list in the file", key->name);
    case GR_CONFIG_TEXT:
    case GR_CONFIG_SECRET:
    case GR_CONFIG_SERVER_NAME:
    case GR_CONFIG_URL:
    case GR_CONFIG_PATH: break;
    }
    return set_text(c, key, text, field);
}

gr_err gr_config_set(gr_config *c, gr_str name, gr_str value)
{
    const gr_config_key *key = gr_config_key_find(name);
    if (key) return set_key(c, c, key, trim(value));
    const gr_config_key *nearest = gr_config_key_nearest(name);
    if (!nearest)
        return gr_failf(c->memory, GR_INVALID_PARAM,
                        "there is no key \"%" GR_FMT "\"; `greenroom config-docs` lists all", GR_ARG(name));
    return gr_failf(c->memory, GR_INVALID_PARAM, "there is no key \"%" GR_FMT "\": did you mean %s?",
                    GR_ARG(name), nearest->name);
}

void gr_config_init(gr_config *c, const char *dir)
{
    size_t count;
    const gr_config_key *keys = gr_config_keys(&count);
    *c = (gr_config){.memory = gr_arena_new(0)};
    c->dir = gr_arena_str(c->memory, gr_str_c(dir)).ptr;
    for (size_t i = 0; i < count; i++) {
        gr_err e = set_key(c, c, &keys[i], gr_str_c(keys[i].otherwise));
        gr_assert(!gr_failed(e));
    }
}

void gr_config_row_init(gr_config *c, const gr_config_key *table, void *row)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const gr_config_key *key = &table->columns[i];
        gr_err e = key->otherwise[0] ? set_key(c, row, key, gr_str_c(key->otherwise)) : gr_ok();
        gr_assert(!gr_failed(e));
        if (!key->otherwise[0] && key->type != GR_CONFIG_LIST) *(const char **)((char *)row + key->offset) = "";
    }
}

gr_err gr_config_row_set(gr_config *c, const gr_config_key *table, void *row, gr_str name, gr_str value)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const gr_config_key *key = &table->columns[i];
        if (!gr_str_is(name, key->name)) continue;
        gr_err e = set_key(c, row, key, trim(value));
        return !gr_failed(e) && key->check && key->type != GR_CONFIG_LIST ? key->check(c->memory, trim(value)) : e;
    }
    gr_buf all = {0};
    for (size_t i = 0; i < table->column_count; i++) gr_buf_printf(&all, "%s%s", i ? ", " : "", table->columns[i].name);
    gr_err e = gr_failf(c->memory, GR_INVALID_PARAM, "an entry of %s has no key \"%" GR_FMT "\"; there are %" GR_FMT, table->name,
                        GR_ARG(name), GR_ARG(gr_buf_view(&all)));
    gr_buf_free(&all);
    return e;
}

void gr_config_free(gr_config *c)
{
    gr_arena_free(&c->memory);
    *c = (gr_config){0};
}

unsigned gr_config_workers(const gr_config *c)
{
    cpu_set_t set;
    if (c->workers) return (unsigned)c->workers;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 1 ? (unsigned)cores - 1 : 1;
}

static void check_readable(const char *key, const char *path, const char *file, gr_config_mistakes *m)
{
    if (!path[0] || access(path, R_OK) == 0) return;
    gr_str text = gr_arena_printf(m->memory, "%s: can't read %s (%s)", key, path, strerror(errno));
    gr_config_mistakes_add(m, file, 0, 0, text.ptr);
}

static void check_ranges(const char *name, const gr_config_list *list, const char *file, gr_config_mistakes *m)
{
    gr_ip_range range;
    char text[200];
    for (size_t i = 0; i < list->count; i++) {
        if (i < GR_IP_RANGES_MAX && gr_ip_range_parse(gr_str_c(list->at[i]), &range)) continue;
        snprintf(text, sizeof text, "%s: %.80s is not an address or a range like 10.0.0.0/8, or one too many", name, list->at[i]);
        gr_config_mistakes_add(m, file, 0, 0, text);
        return;
    }
}

static void check_provider(const gr_config *c, const gr_config_provider *p, const char *file, gr_config_mistakes *m)
{
    bool oidc = p->kind == GR_CONFIG_PROVIDER_OIDC, secret = p->client_auth != GR_CONFIG_CLIENT_NONE;
    const char *what = NULL;
    if (!c->public_base_url[0]) what = "public_base_url must be set: the provider sends people back there";
    else if (oidc && !p->client_id[0]) what = "client_id is missing: the name under which the provider knows this server";
    else if (oidc && secret && !p->client_secret[0]) what = "client_secret is missing; without one, set `client_auth: none`";
    if (!what) return;
    gr_config_mistakes_add(m, file, 0, 0, gr_arena_printf(m->memory, "sso.providers, %s: %s", p->id, what).ptr);
}

static void check_email(const gr_config *c, const char *file, gr_config_mistakes *m)
{
    gr_str host;
    uint16_t port = 0;
    bool literal = false;
    if (c->email_registration != GR_CONFIG_EMAIL_OFF && !c->email_server[0])
        gr_config_mistakes_add(m, file, 0, 0, "email.registration is on, but there is no email.server");
    if (!c->email_server[0]) return;
    if (!gr_ident_server_split(gr_str_c(c->email_server), &host, &port, &literal) || port == 0)
        gr_config_mistakes_add(m, file, 0, 0, "email.server is not host:port, like `mail.example.org:587`");
    if (!gr_ident_email(gr_str_c(c->email_from)))
        gr_config_mistakes_add(m, file, 0, 0, "email.from is not an address, like `noreply@example.org`");
    if (!c->public_base_url[0])
        gr_config_mistakes_add(m, file, 0, 0, "email.server is set, but mails need public_base_url for their links");
}

void gr_config_check(const gr_config *c, const char *file, gr_config_mistakes *m)
{
    for (size_t i = 0; i < c->sso_providers.count; i++) check_provider(c, &c->sso_providers.at[i], file, m);
    if (c->sso_preferred && (c->sso_providers.count == 0 || !c->oauth))
        gr_config_mistakes_add(m, file, 0, 0, "sso.preferred is on, which needs sso.providers, and oauth: on");
    if (!c->server_name[0])
        gr_config_mistakes_add(m, file, 0, 0,
                               "server_name is missing: add a line like `server_name: example.org`");
    if (c->tls_certificate[0] && !c->tls_key[0])
        gr_config_mistakes_add(m, file, 0, 0,
                               "tls.certificate is set but tls.key is not: name the file of its private key");
    if (c->tls_key[0] && !c->tls_certificate[0])
        gr_config_mistakes_add(m, file, 0, 0,
                               "tls.key is set but tls.certificate is not: name the file of the certificate");
    if (!c->listen_client.host && !c->listen_federation.host)
        gr_config_mistakes_add(m, file, 0, 0,
                               "listen.client and listen.federation are both off: nobody could connect");
    if (c->federation_retry_first_ms > c->federation_retry_max_ms)
        gr_config_mistakes_add(m, file, 0, 0, "federation.retry.first is longer than federation.retry.max");
    if (c->turn_uris.count && !c->turn_shared_secret[0])
        gr_config_mistakes_add(m, file, 0, 0, "turn.uris is set but turn.shared_secret is not");
    if (strlen(c->listen_admin) >= sizeof((struct sockaddr_un *)0)->sun_path)
        gr_config_mistakes_add(m, file, 0, 0,
                               "listen.admin: the path is too long for a Unix socket (107 bytes): "
                               "name a shorter one, for example in /run");
    check_email(c, file, m);
    check_readable("email.trusted_ca", c->email_trusted_ca, file, m);
    check_readable("tls.certificate", c->tls_certificate, file, m);
    check_readable("tls.key", c->tls_key, file, m);
    check_readable("federation.trusted_ca", c->federation_trusted_ca, file, m);
    check_ranges("federation.address_allow", &c->federation_address_allow, file, m);
    check_ranges("federation.address_deny", &c->federation_address_deny, file, m);
}

void gr_config_mistakes_init(gr_config_mistakes *m) { *m = (gr_config_mistakes){.memory = gr_arena_new(0)}; }

void gr_config_mistakes_free(gr_config_mistakes *m)
{
    gr_arena_free(&m->memory);
    m->count = 0;
}

void gr_config_mistakes_add(gr_config_mistakes *m, const char *file, uint32_t line, uint32_t column,
                            const char *text)
{
    if (m->count == GR_CONFIG_MISTAKES_MAX) return;
    m->at[m->count++] = (gr_config_mistake){gr_arena_str(m->memory, gr_str_c(file)).ptr, line, column,
                                            gr_arena_str(m->memory, gr_str_c(text)).ptr};
}

void gr_config_mistakes_print(const gr_config_mistakes *m, FILE *out)
{
    for (size_t i = 0; i < m->count; i++) {
        const gr_config_mistake *one = &m->at[i];
        if (one->line) fprintf(out, "%s:%u:%u: %s\n", one->file, one->line, one->column, one->text);
        else fprintf(out, "%s: %s\n", one->file, one->text);
    }
    if (m->count == GR_CONFIG_MISTAKES_MAX) fprintf(out, "(more mistakes are not shown)\n");
}
