/* server.c - one node in the foreground: store, bus, edge threads, and their orderly end. See server.h. */
#include "edge/server.h"

#include "actors/env.h"
#include "actors/kinds.h"
#include "actors/schema.h"
#include "bus/clock.h"
#include "edge/admin.h"
#include "edge/appservice.h"
#include "edge/cluster_file.h"
#include "edge/edge.h"
#include "edge/fetcher.h"
#include "edge/keys.h"
#include "edge/log.h"
#include "edge/media_store.h"
#include "edge/terms.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { STOP_MS = 9000, STOP_REQUESTS_MS = 5000, DISK_LOOK_MS = 2000 };

typedef struct {
    const gr_config *config;
    const char *dir;
    gr_arena *arena;
    gr_keys keys;
    gr_cluster cluster;
    gr_signer signer;
    gr_env env;
    gr_store *store;
    gr_fetcher *fetcher;
    gr_node *node;
    gr_edge *edge;
    gr_clock clock;                /* the edge thread's */
    gr_admin *admin;
    gr_http_tls *tls;
    gr_appservices *appservices;
    pthread_t edge_thread;
    bool edge_running;
    atomic_bool stopping;
} server;

static int failed(const char *what, gr_err err)
{
    gr_log(GR_LOG_ERROR, "server", "%s: %s", what, err.text ? err.text : "unknown reason");
    return 1;
}

/* 10,000 long polls need descriptors: take what the hard limit gives and say so when that is little. */
static void raise_descriptors(const gr_config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < config->http_max_connections + 2000)
        gr_log(GR_LOG_WARNING, "server", "only %llu open files are allowed: fewer than http.max_connections asks for; raise "
               "the limit (ulimit -n)", (unsigned long long)limit.rlim_cur);
}

static gr_err open_store(server *s)
{
    const char *path = gr_arena_printf(s->arena, "%s/store", s->dir).ptr;
    gr_store_options options = {.dir = path, .server_name = gr_str_c(s->config->server_name), .create = true, .threaded = true};
    size_t ran = 0;
    gr_err err = gr_store_open(&options, s->arena, &s->store);
    if (!gr_failed(err)) err = gr_schema_upgrade(s->store, &gr_schema_actors, gr_clock_ms(CLOCK_REALTIME), s->arena, &ran);
    if (!gr_failed(err) && ran) gr_log(GR_LOG_INFO, "server", "%zu changes of the store's layout were run", ran);
    return err;
}

/* --- the cluster ---------------------------------------------------------------------------------------------- */
static void log_link(void *arg, bool is_warning, const char *text)
{
    (void)arg;
    gr_log_text(is_warning ? GR_LOG_WARNING : GR_LOG_INFO, "cluster", gr_str_c(text));
}

static bool found_row(void *arg, gr_str key, gr_str value)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

/* What this store holds of shards that the file gives to others would be out of reach, and grow apart. */
static gr_err check_shards(server *s, unsigned self)
{
    for (unsigned shard = 0; shard < GR_SHARDS; shard++) {
        bool found = false;
        gr_arena *a = gr_arena_new(0);
        gr_range range = {.from = gr_key_shard(a, (uint8_t)shard, GR_STR("\1")),
                          .to = gr_key_shard(a, (uint8_t)shard, GR_STR("\xff\xff")), .limit = 1};
        gr_err err = s->cluster.owner[shard] == self ? gr_ok() : gr_store_scan(s->store, NULL, &range, found_row, &found);
        gr_arena_free(&a);
        if (gr_failed(err)) return err;
        if (found)
            return gr_failf(s->arena, GR_INVALID_PARAM, "this node has data of shard %u, which %s gives to %s: shards stay "
                            "with the node that has their data", shard, s->config->cluster_file,
                            s->cluster.nodes[s->cluster.owner[shard]].name);
    }
    return gr_ok();
}

static gr_err read_cluster(server *s)
{
    gr_config_mistakes mistakes;
    gr_config_mistakes_init(&mistakes);
    bool good = gr_cluster_file_read(&s->cluster, s->config->cluster_file, &mistakes);
    if (!good) gr_config_mistakes_print(&mistakes, stderr);
    gr_config_mistakes_free(&mistakes);
    return good ? gr_ok() : gr_failf(s->arena, GR_INVALID_PARAM, "%s has mistakes", s->config->cluster_file);
}

static gr_err join_cluster(server *s, gr_node_options *options)
{
    const gr_config *c = s->config;
    uint8_t public_key[GR_CLUSTER_KEY_SIZE];
    if (!c->cluster_file[0]) return gr_ok();
    gr_err err = read_cluster(s);
    int self = gr_failed(err) ? -1 : gr_cluster_find(&s->cluster, gr_str_c(c->cluster_node));
    if (gr_failed(err)) return err;
    if (self < 0)
        return gr_failf(s->arena, GR_INVALID_PARAM, "%s has no node %s (cluster.node in the configuration)", c->cluster_file,
                        c->cluster_node);
    if (s->cluster.nodes[self].is_revoked)
        return gr_failf(s->arena, GR_FORBIDDEN, "the node %s is revoked in %s", c->cluster_node, c->cluster_file);
    gr_cluster_public_key(s->keys.bus_secret, public_key);
    if (memcmp(public_key, s->cluster.nodes[self].public_key, sizeof public_key) != 0)
        return gr_failf(s->arena, GR_INVALID_PARAM, "the public key of %s in %s is not that of this data directory: `greenroom "
                        "cluster key %s` prints it", c->cluster_node, c->cluster_file, s->dir);
    options->cluster = &s->cluster;
    options->cluster_key = s->keys.bus_secret;
    options->cluster_bind = c->cluster_listen[0] ? c->cluster_listen : NULL;
    options->cluster_log = log_link;
    return check_shards(s, (unsigned)self);
}

/* --- other servers -------------------------------------------------------------------------------------------- */
static const char *const *notaries(server *s)
{
    const gr_config_list *list = &s->config->federation_notaries;
    const char **names = gr_arena_alloc(s->arena, (list->count + 1) * sizeof *names);
    for (size_t i = 0; i < list->count; i++) names[i] = list->at[i];
    return names;
}

static gr_err read_ranges(server *s, const gr_config_list *list, gr_ip_range *ranges, size_t *count)
{
    for (size_t i = 0; i < list->count; i++) {
        if (*count == GR_IP_RANGES_MAX || !gr_ip_range_parse(gr_str_c(list->at[i]), &ranges[(*count)++]))
            return gr_failf(s->arena, GR_INVALID_PARAM, "%s is not an address or a range like 10.0.0.0/8", list->at[i]);
    }
    return gr_ok();
}

static bool allows(void *arg, gr_str name) { return gr_call_server_allowed(arg, name); }

static void read_smtp(server *s, gr_fetcher_smtp *out)
{
    const gr_config *c = s->config;
    const char *scheme = c->email_tls == GR_CONFIG_EMAIL_TLS ? "smtps" : "smtp";
    *out = (gr_fetcher_smtp){.url = "", .user = c->email_user, .password = c->email_password, .trusted_ca = c->email_trusted_ca,
                             .is_plain = c->email_tls == GR_CONFIG_EMAIL_PLAIN};
    if (c->email_server[0]) out->url = gr_arena_printf(s->arena, "%s://%s/%s", scheme, c->email_server, c->server_name).ptr;
    out->from = gr_arena_printf(s->arena, "<%s>", c->email_from).ptr;
}

/* Mails are written by actors, with links to pages of this server. */
static void read_email(server *s)
{
    const gr_config *c = s->config;
    gr_str base = gr_str_c(c->public_base_url);
    while (base.size && base.ptr[base.size - 1] == '/') base.size--;
    if (!c->email_server[0]) return;
    s->env.email.from = gr_arena_printf(s->arena, "<%s>", c->email_from);
    s->env.email.base_url = base;
    s->env.email.may_register = c->email_registration == GR_CONFIG_EMAIL_OPTIONAL;
    s->env.email.must_register = c->email_registration == GR_CONFIG_EMAIL_REQUIRED;
}

static gr_err open_fetcher(server *s)
{
    const gr_config *c = s->config;
    gr_fetcher_options o = {.trusted_ca = c->federation_trusted_ca, .dns_servers = c->federation_dns_servers,
                            .well_known_port = (uint16_t)c->federation_well_known_port,
                            .rules.private_ok = c->federation_allow_private_addresses, .allows = allows, .allows_arg = (void *)c};
    read_smtp(s, &o.smtp);
    gr_err err = read_ranges(s, &c->federation_address_allow, o.rules.allow, &o.rules.allow_count);
    if (!gr_failed(err)) err = read_ranges(s, &c->federation_address_deny, o.rules.deny, &o.rules.deny_count);
    return gr_failed(err) ? err : gr_fetcher_open(&o, s->arena, &s->fetcher);
}

static unsigned password_needs(const gr_config *c)
{
    unsigned needs = 0;
    for (size_t i = 0; i < c->password_require.count; i++) needs |= gr_config_password_need(gr_str_c(c->password_require.at[i]));
    return needs;
}

static gr_str base_url(server *s)
{
    gr_str url = gr_str_c(s->config->public_base_url);
    while (url.size && url.ptr[url.size - 1] == '/') url.size--;
    return url.size ? url : gr_arena_printf(s->arena, "https://%s", s->config->server_name);
}

static gr_provider provider_of(server *s, const gr_config_provider *c)
{
    gr_str scopes = {0};
    for (size_t i = 0; i < c->scopes.count; i++)
        scopes = gr_arena_printf(s->arena, "%" GR_FMT "%s%s", GR_ARG(scopes), i ? " " : "", c->scopes.at[i]);
    return (gr_provider){.id = gr_str_c(c->id), .name = gr_str_c(c->name), .issuer = gr_str_c(c->issuer),
                         .client_id = gr_str_c(c->client_id), .client_secret = gr_str_c(c->client_secret), .scopes = scopes,
                         .is_cas = c->kind == GR_CONFIG_PROVIDER_CAS, .has_secret = c->client_auth != GR_CONFIG_CLIENT_NONE,
                         .secret_in_form = c->client_auth == GR_CONFIG_CLIENT_POST, .userinfo = c->userinfo,
                         .registration = c->registration, .pick_name = c->pick_name, .link_existing = c->link_existing,
                         .subject = gr_str_c(c->subject), .localpart = gr_str_c(c->localpart),
                         .display_name = gr_str_c(c->display_name)};
}

static gr_providers providers(server *s)
{
    const gr_config_providers *all = &s->config->sso_providers;
    gr_provider *at = gr_arena_alloc(s->arena, all->count * sizeof *at);
    for (size_t i = 0; i < all->count; i++) at[i] = provider_of(s, &all->at[i]);
    return (gr_providers){at, all->count};
}

static gr_err open_node(server *s)
{
    s->env = (gr_env){
        .server_name = gr_str_c(s->config->server_name), .base_url = base_url(s), .signer = &s->signer,
        .default_room_version = gr_str_c(s->config->default_room_version),
        .registration_open = s->config->registration == GR_CONFIG_REGISTRATION_OPEN,
        .registration_token = s->config->registration == GR_CONFIG_REGISTRATION_TOKEN,
        .validity = {s->config->validity_period_ms, s->config->validity_warn_ms},
        .terms = gr_term_params(s->arena, s->config->terms_policies.at, s->config->terms_policies.count),
        .password_needs = password_needs(s->config),
        .guesses = {s->config->rate_limits ? s->config->password_guesses : 0, s->config->password_guess_wait_ms},
        .password_min_length = s->config->password_min_length, .password_memory = s->config->password_memory,
        .password_bcrypt_cost = s->config->password_bcrypt_cost,
        .access_token_lifetime_ms = s->config->tokens_access_lifetime_ms, .media_max_upload = s->config->media_max_upload,
        .redaction_retention_ms = s->config->rooms_redaction_retention_ms,
        .retry = {s->config->federation_retry_first_ms, s->config->federation_retry_max_ms,
                  s->config->federation_retry_factor, s->config->federation_retry_jitter},
        .queue = {s->config->federation_queue_events, s->config->federation_queue_size,
                  s->config->federation_catch_up_after_ms, s->config->federation_catch_up_page},
        .login_token_lifetime_ms = s->config->tokens_login_lifetime_ms, .providers = providers(s),
        .notaries = notaries(s), .presence = {s->config->presence, s->config->presence_room_max}};
    read_email(s);
    gr_err err = open_fetcher(s);
    if (gr_failed(err)) return err;
    gr_node_options options = {
        .http = gr_fetcher_seam(s->fetcher),
        .name = s->config->cluster_node, .dir = s->dir, .store = s->store, .kinds = gr_kinds, .env = &s->env,
        .workers = gr_config_workers(s->config), .pool_threads = 6, .ports_max = GR_ADMIN_PORTS,
        .in_flight_max = (unsigned)s->config->http_requests_in_flight,
        .message_log = s->config->message_log == GR_CONFIG_MESSAGES_OFF ? GR_NODE_LOG_OFF
                     : s->config->message_log == GR_CONFIG_MESSAGES_FULL ? GR_NODE_LOG_FULL : GR_NODE_LOG_ON,
        .message_log_bytes = s->config->message_log_size, .message_log_age_ms = s->config->message_log_age_ms};
    err = join_cluster(s, &options);
    if (!gr_failed(err)) err = gr_node_open(&options, s->arena, &s->node);
    return gr_failed(err) ? err : gr_node_start(s->node);
}

static gr_err listen_on(server *s, const gr_config_address *address, gr_edge_door door, bool tls)
{
    uint16_t port = 0;
    if (!address->host) return gr_ok();
    gr_http_listener listener = {.address = address->host, .port = address->port, .tls = tls ? s->tls : NULL,
                                .door = (uint8_t)door};
    return gr_http_listen(s->edge->http, &listener, s->arena, &port);
}

static gr_err read_appservices(server *s)
{
    const gr_config_list *list = &s->config->appservices;
    const char **paths = gr_arena_alloc(s->arena, (list->count + 1) * sizeof *paths);
    for (size_t i = 0; i < list->count; i++)
        paths[i] = list->at[i][0] == '/' ? list->at[i] : gr_arena_printf(s->arena, "%s/%s", s->dir, list->at[i]).ptr;
    gr_config_list whole = {paths, list->count};
    return gr_appservices_read(s->arena, &whole, gr_str_c(s->config->server_name), &s->appservices);
}

static gr_err open_edge(server *s)
{
    const gr_config *c = s->config;
    gr_err read = read_appservices(s);
    if (gr_failed(read)) return read;
    if (c->tls_certificate[0]) {
        gr_err err = gr_http_tls_new(s->arena, c->tls_certificate, c->tls_key, &s->tls);
        if (gr_failed(err)) return err;
    }
    gr_edge_options o = {.config = c, .env = &s->env, .node = s->node, .index = GR_ADMIN_PORT_EDGE, .clock = &s->clock,
                         .openid_key = s->keys.token_check, .appservices = s->appservices};
    gr_err err = gr_media_store_open(s->arena, s->dir, c->cluster_node);
    if (!gr_failed(err)) err = gr_edge_new(s->arena, &o, &s->edge);
    if (!gr_failed(err)) err = listen_on(s, &c->listen_client, GR_EDGE_CLIENT, c->tls_listeners != GR_CONFIG_TLS_FEDERATION);
    if (!gr_failed(err))
        err = listen_on(s, &c->listen_federation, GR_EDGE_FEDERATION, c->tls_listeners != GR_CONFIG_TLS_CLIENT);
    if (!gr_failed(err)) err = gr_admin_open(s->arena, c, s->dir, s->node, s->store, &s->edge->counters, s->fetcher, &s->admin);
    return err;
}

static void *edge_loop(void *arg)
{
    server *s = arg;
    uint64_t disk_look_ms = 0, stop_ms = 0;
    for (;;) {
        uint64_t mono_ms = gr_clock_ms(CLOCK_MONOTONIC);
        if (mono_ms >= disk_look_ms) {
            uint64_t left = 0;
            disk_look_ms = mono_ms + DISK_LOOK_MS;
            if (!gr_failed(gr_store_disk_free(s->dir, &left))) s->edge->disk_low = left < s->config->disk_reserve;
        }
        if (atomic_load(&s->stopping)) {
            if (!stop_ms) {
                stop_ms = mono_ms + STOP_REQUESTS_MS;
                gr_edge_stop(s->edge);
            }
            if (gr_edge_idle(s->edge) || mono_ms >= stop_ms) return NULL;
        }
        gr_edge_step(s->edge, mono_ms, atomic_load(&s->stopping) ? 20 : 1000);
    }
}

static int open_all(server *s)
{
    s->arena = gr_arena_new(0);
    gr_err err = gr_keys_load(s->arena, s->dir, &s->keys);
    if (gr_failed(err)) return failed("keys", err);
    gr_str name = gr_str_from(gr_str_c(s->keys.key_id), sizeof "ed25519:" - 1);
    err = gr_signer_from_seed(gr_str_c(s->config->server_name), name, s->keys.secret_key, &s->signer);
    if (gr_failed(err)) return failed("signing key", err);
    if (gr_failed(err = open_store(s))) return failed("store", err);
    if (gr_failed(err = open_node(s))) return failed("node", err);
    if (gr_failed(err = open_edge(s))) return failed("listeners", err);
    if (pthread_create(&s->edge_thread, NULL, edge_loop, s) != 0) return failed("edge", gr_fail(GR_UNKNOWN, "no thread"));
    s->edge_running = true;
    return 0;
}

static bool close_all(server *s)
{
    bool clean = true;
    atomic_store(&s->stopping, true);
    gr_admin_close(&s->admin);
    if (s->edge_running) {
        gr_http_wake(s->edge->http);
        pthread_join(s->edge_thread, NULL);
    }
    gr_edge_free(&s->edge);
    gr_appservices_free(&s->appservices);
    gr_http_tls_free(&s->tls);
    if (s->fetcher) gr_fetcher_stop(s->fetcher);
    if (s->node) clean = gr_node_stop(s->node, STOP_MS - STOP_REQUESTS_MS);
    gr_node_close(&s->node);
    gr_fetcher_close(&s->fetcher);
    gr_store_close(&s->store);
    gr_signer_wipe(&s->signer);
    gr_keys_wipe(&s->keys);
    gr_arena_free(&s->arena);
    return clean;
}

static void end_at_once(int number)
{
    (void)number;
    _exit(1);
}

/* Waits for SIGTERM or SIGINT; SIGHUP reads the certificate again.  After the first, a second one ends at once. */
static void wait_for_stop(server *s, const sigset_t *signals)
{
    for (int number = 0; sigwait(signals, &number) == 0;) {
        if (number != SIGHUP) break;
        gr_err err = s->tls ? gr_http_tls_reload(s->tls, s->arena) : gr_ok();
        if (gr_failed(err)) failed("certificate (the old one stays)", err);
    }
    struct sigaction at_once = {.sa_handler = end_at_once};
    sigaction(SIGTERM, &at_once, NULL);
    sigaction(SIGINT, &at_once, NULL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

int gr_server_run(const gr_config *config, const char *dir)
{
    uint64_t began_ms = gr_clock_ms(CLOCK_MONOTONIC);
    server s = {.config = config, .dir = dir};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors(config);
    int code = open_all(&s);
    if (code == 0) {
        gr_log(GR_LOG_INFO, "server", "%s serves on %s:%u, ready after %llu ms; stop with Ctrl-C or SIGTERM",
               config->server_name, config->listen_client.host ? config->listen_client.host : "(no client listener)",
               config->listen_client.port, (unsigned long long)(gr_clock_ms(CLOCK_MONOTONIC) - began_ms));
        wait_for_stop(&s, &signals);
        gr_log(GR_LOG_INFO, "server", "stopping; a second signal ends at once");
    }
    if (!close_all(&s) && code == 0) {
        gr_log(GR_LOG_WARNING, "server", "stopped before all work was drained; nothing acknowledged is lost");
    }
    return code;
}
