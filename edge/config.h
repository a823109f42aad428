/* config.h - how one node is configured: typed fields, filled from greenroom.yaml and the environment.
 *
 * Every key stands once, in config_table.c.  From that table come the file that `greenroom init` writes, the
 * parser and its messages, the overrides GREENROOM_<KEY> (dots as _, upper case) and docs/configuration.md.
 * Read once at the start by the command line; what runs gets a const gr_config.
 */
#pragma once
#include "proto/err.h"

#include <stdio.h>

#define GR_CONFIG_FILE "greenroom.yaml"
enum { GR_CONFIG_BYTES_MAX = 1 << 20, GR_CONFIG_MISTAKES_MAX = 100 };

typedef enum { GR_CONFIG_REGISTRATION_OPEN, GR_CONFIG_REGISTRATION_TOKEN, GR_CONFIG_REGISTRATION_CLOSED }
    gr_config_registration;
typedef enum { GR_CONFIG_MESSAGES_ON, GR_CONFIG_MESSAGES_FULL, GR_CONFIG_MESSAGES_OFF } gr_config_messages;
typedef enum { GR_CONFIG_EMAIL_STARTTLS, GR_CONFIG_EMAIL_TLS, GR_CONFIG_EMAIL_PLAIN } gr_config_email_tls;
typedef enum { GR_CONFIG_EMAIL_OFF, GR_CONFIG_EMAIL_OPTIONAL, GR_CONFIG_EMAIL_REQUIRED } gr_config_email_registration;
typedef enum { GR_CONFIG_TLS_FEDERATION, GR_CONFIG_TLS_CLIENT, GR_CONFIG_TLS_BOTH } gr_config_tls_listeners;

typedef struct { const char *host; uint16_t port; } gr_config_address;    /* host is NULL when it is off */
typedef struct { const char *const *at; size_t count; } gr_config_list;

/* An identity provider: see the keys in config_table.c. */
typedef enum { GR_CONFIG_PROVIDER_OIDC, GR_CONFIG_PROVIDER_CAS } gr_config_provider_kind;
typedef enum { GR_CONFIG_CLIENT_BASIC, GR_CONFIG_CLIENT_POST, GR_CONFIG_CLIENT_NONE } gr_config_client_auth;
typedef struct {
    const char *id, *name, *icon, *brand;
    uint32_t kind;                         /* a gr_config_provider_kind */
    const char *issuer, *client_id, *client_secret;
    uint32_t client_auth;                  /* a gr_config_client_auth */
    gr_config_list scopes;
    bool userinfo, registration, pick_name, link_existing;
    const char *subject, *localpart, *display_name;
} gr_config_provider;
enum { GR_CONFIG_PROVIDERS_MAX = 64 };
typedef struct { gr_config_provider *at; size_t count; } gr_config_providers;

/* Texts live in memory and end with a NUL.  An optional text that is not set is "".  Paths are made absolute
 * or relative to the working directory already; sizes are bytes, durations milliseconds. */
typedef struct {
    gr_arena *memory;
    const char *dir;

    const char *server_name, *public_base_url, *default_room_version;
    uint32_t registration;                 /* a gr_config_registration */
    const char *registration_shared_secret;
    bool guests;
    bool oauth;
    bool rate_limits;
    uint64_t workers;                      /* as configured: 0 is cores - 1, see gr_config_workers */
    uint32_t message_log;                  /* a gr_config_messages */
    uint64_t message_log_size, message_log_age_ms, disk_reserve;

    gr_config_address listen_client, listen_federation, listen_metrics;
    const char *listen_admin;

    const char *tls_certificate, *tls_key;
    uint32_t tls_listeners;                /* a gr_config_tls_listeners */

    const char *federation_trusted_ca, *federation_dns_servers, *federation_well_known;
    bool federation_allow_private_addresses;
    gr_config_list federation_address_allow, federation_address_deny, federation_server_allow, federation_server_deny;
    gr_config_list federation_notaries, federation_old_keys;
    bool presence;
    uint64_t presence_room_max;
    uint64_t federation_well_known_port;
    uint64_t federation_retry_first_ms, federation_retry_max_ms;
    double federation_retry_factor, federation_retry_jitter;
    uint64_t federation_catch_up_after_ms, federation_catch_up_page;
    uint64_t federation_queue_events, federation_queue_size;

    uint64_t http_max_connections, http_requests_in_flight, http_max_body, http_max_answer;
    uint64_t http_header_timeout_ms, http_idle_timeout_ms, http_stop_timeout_ms;

    const char *cluster_file, *cluster_node, *cluster_listen;

    uint64_t media_max_upload;
    gr_config_list turn_uris;
    const char *turn_shared_secret;
    uint64_t turn_ttl_ms;
    gr_config_list appservices;
    uint64_t validity_period_ms, validity_warn_ms;
    const char *email_server, *email_trusted_ca, *email_user, *email_password, *email_from;
    uint32_t email_tls;                    /* a gr_config_email_tls */
    uint32_t email_registration;           /* a gr_config_email_registration */
    gr_config_list terms_policies;
    uint64_t password_min_length, password_memory, password_bcrypt_cost, password_guesses, password_guess_wait_ms;
    gr_config_list password_require;
    uint64_t rooms_redaction_retention_ms;
    uint64_t sync_timeline_limit_max, sync_timeout_max_ms;
    uint64_t tokens_access_lifetime_ms, tokens_login_lifetime_ms;
    gr_config_providers sso_providers;
    gr_config_list sso_trusted_clients;
    bool sso_preferred;
    uint32_t log_level;                    /* a gr_log_level */
    uint32_t log_format;                   /* a gr_log_format */
} gr_config;

/* One mistake: file, line and column from 1 (line 0: no line of a file), and what to do. */
typedef struct { const char *file; uint32_t line, column; const char *text; } gr_config_mistake;
typedef struct {
    gr_arena *memory;
    size_t count;
    gr_config_mistake at[GR_CONFIG_MISTAKES_MAX];
} gr_config_mistakes;

typedef enum {
    GR_CONFIG_TEXT, GR_CONFIG_SECRET, GR_CONFIG_SERVER_NAME, GR_CONFIG_URL, GR_CONFIG_PATH, GR_CONFIG_ADDRESS,
    GR_CONFIG_CHOICE, GR_CONFIG_SWITCH, GR_CONFIG_COUNT, GR_CONFIG_REAL, GR_CONFIG_SIZE, GR_CONFIG_DURATION,
    GR_CONFIG_LIST,
    GR_CONFIG_WORD,              /* a text that is one of choices */
    GR_CONFIG_TABLE              /* a list of maps, only in the file; the field is {row *at; size_t count} */
} gr_config_type;

typedef struct gr_config_key gr_config_key;

/* One row of the table.  otherwise is the default as text; low and high bound the stored number. */
struct gr_config_key {
    const char *name;
    gr_config_type type;
    size_t offset;
    const char *otherwise;
    const char *choices;         /* "open|token|closed", in the order of the enum */
    double low, high;
    bool needed;
    gr_err (*check)(gr_arena *, gr_str);     /* of an entry of a list; NULL: any text will do */
    const char *text;            /* a paragraph for people */
    const gr_config_key *columns;        /* of a table: the keys of one map, "id" among them, which no two maps share */
    size_t column_count, row_size, row_max;
};

/* The table, in the order of the file: keys of a section stand together. */
const gr_config_key *gr_config_keys(size_t *count);
const gr_config_key *gr_config_key_find(gr_str name);             /* or NULL */
const gr_config_key *gr_config_key_nearest(gr_str name);          /* what a misspelt name may mean, or NULL */
const char *gr_config_type_name(const gr_config_key *);           /* "on or off", "open|token|closed" */

/* Fills config with the defaults, relative to dir.  Always followed by one gr_config_free. */
void gr_config_init(gr_config *, const char *dir);
void gr_config_free(gr_config *);

/* Reads YAML text over what config holds.  file is the name for messages.  What is wrong is added to mistakes
 * and leaves its key as it was. */
void gr_config_parse(gr_config *, gr_str yaml, const char *file, gr_config_mistakes *);
/* Takes GREENROOM_<KEY> from a NULL-ended list of NAME=value.  Names that are no key are left alone:
 * others set variables with that prefix too (service discovery). */
void gr_config_environment(gr_config *, char *const *environment, gr_config_mistakes *);
/* Sets one key by its text, as the file or the environment would. GR_INVALID_PARAM says what is wrong. */
GR_MUST_USE gr_err gr_config_set(gr_config *, gr_str name, gr_str value);
/* For a table: a row (zeroed, row_size bytes) with the defaults, and one key of it. */
void gr_config_row_init(gr_config *, const gr_config_key *table, void *row);
GR_MUST_USE gr_err gr_config_row_set(gr_config *, const gr_config_key *table, void *row, gr_str name, gr_str value);
/* What only shows in the whole: missing keys, a certificate without its key, files that can't be read. */
void gr_config_check(const gr_config *, const char *file, gr_config_mistakes *);
/* All of it: DIR/greenroom.yaml, then the environment, then the checks.  True when there was no mistake. */
bool gr_config_load(gr_config *, const char *dir, char *const *environment, gr_config_mistakes *);

void gr_config_mistakes_init(gr_config_mistakes *);
void gr_config_mistakes_free(gr_config_mistakes *);
void gr_config_mistakes_add(gr_config_mistakes *, const char *file, uint32_t line, uint32_t column,
                            const char *text);
void gr_config_mistakes_print(const gr_config_mistakes *, FILE *);        /* file:line:column: text */

/* Writes the commented file.  names and values: keys to set, all others stand there commented out with their
 * defaults.  The values were checked with gr_config_set. */
void gr_config_write(gr_buf *, size_t count, const gr_str *names, const gr_str *values);
/* Writes docs/configuration.md. */
void gr_config_docs(gr_buf *);

/* The name of the variable that overrides a key, for example GREENROOM_LISTEN_CLIENT. */
gr_str gr_config_variable(gr_arena *, const gr_config_key *);
/* The gr_password_need of a word in password.require; 0: it is none. */
unsigned gr_config_password_need(gr_str word);
/* Worker threads to start: as configured, or for 0 one less than the usable processors, at least 1. */
unsigned gr_config_workers(const gr_config *);
