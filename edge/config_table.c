/* config_table.c - every key of the configuration. See config.h. */
#include "edge/config.h"
#include "edge/old_key.h"
#include "edge/terms.h"

#include "actors/login/password.h"

#define AT(field) offsetof(gr_config, field)
#define KIB 1024.0
#define MIB (1024.0 * KIB)
#define GIB (1024.0 * MIB)
#define SECOND 1000.0
#define HOUR (3600.0 * SECOND)
#define DAY (24.0 * HOUR)

static gr_err is_old_key(gr_arena *arena, gr_str entry)
{
    gr_old_key old;
    return gr_old_key_parse(arena, entry, &old);
}

static gr_err is_term(gr_arena *arena, gr_str entry)
{
    gr_term term;
    return gr_term_parse(arena, entry, &term);
}

unsigned gr_config_password_need(gr_str word)
{
    static const struct { const char *word; unsigned need; } needs[] = {
        {"lowercase", GR_PASSWORD_NEEDS_LOWERCASE}, {"uppercase", GR_PASSWORD_NEEDS_UPPERCASE},
        {"digit", GR_PASSWORD_NEEDS_DIGIT}, {"symbol", GR_PASSWORD_NEEDS_SYMBOL}};
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
        if (gr_str_is(word, needs[i].word)) return needs[i].need;
    return 0;
}

static gr_err is_password_need(gr_arena *arena, gr_str entry)
{
    return gr_config_password_need(entry) ? gr_ok()
         : gr_failf(arena, GR_INVALID_PARAM, "'%" GR_FMT "' is none of lowercase, uppercase, digit, symbol", GR_ARG(entry));
}

static gr_err is_provider_id(gr_arena *arena, gr_str id)
{
    bool good = id.size > 0 && id.size <= 64;
    for (size_t i = 0; i < id.size; i++) {
        char b = id.ptr[i];
        good = good && ((b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || b == '-' || b == '_' || b == '.');
    }
    /* Metrics have these for ways in without a provider. */
    if (gr_str_is(id, "password") || gr_str_is(id, "token") || gr_str_is(id, "guest"))
        return gr_fail(GR_INVALID_PARAM, "this id stands for a way in without a provider: choose another");
    if (good) return gr_ok();
    return gr_failf(arena, GR_INVALID_PARAM, "id must consist of a-z 0-9 - _ . (at most 64), not \"%" GR_FMT "\"", GR_ARG(id));
}

static gr_err is_icon(gr_arena *arena, gr_str icon)
{
    if (icon.size == 0 || gr_str_starts(icon, GR_STR("mxc://"))) return gr_ok();
    return gr_failf(arena, GR_INVALID_PARAM, "icon must be an mxc:// address, not \"%" GR_FMT "\"", GR_ARG(icon));
}

#define OF(field) offsetof(gr_config_provider, field)
/* clang-format off */
static const gr_config_key providers[] = {
    {"id", GR_CONFIG_TEXT, OF(id), "", .needed = true, .check = is_provider_id, .text =
     "What the provider is called in addresses, records and metrics: a-z 0-9 - _ . Never change it: accounts are found by it."},
    {"name", GR_CONFIG_TEXT, OF(name), "", .needed = true, .text = "What people read on the button."},
    {"icon", GR_CONFIG_TEXT, OF(icon), "", .check = is_icon, .text = "An mxc:// address of a picture for the button."},
    {"brand", GR_CONFIG_TEXT, OF(brand), "", .text =
     "For clients that draw well-known buttons: github, google, apple, gitlab, facebook, twitter."},
    {"kind", GR_CONFIG_CHOICE, OF(kind), "oidc", "oidc|cas", .text =
     "OpenID Connect (with discovery), or CAS 3."},
    {"issuer", GR_CONFIG_URL, OF(issuer), "", .needed = true, .text =
     "OpenID Connect: the issuer, exactly as the provider names itself. CAS: the address before /login."},
    {"client_id", GR_CONFIG_TEXT, OF(client_id), "", .text = "OpenID Connect: the id that the provider gave to this server."},
    {"client_secret", GR_CONFIG_SECRET, OF(client_secret), "", .text = "OpenID Connect: the secret that goes with it."},
    {"client_auth", GR_CONFIG_CHOICE, OF(client_auth), "basic", "basic|post|none", .text =
     "How the secret is sent: in a header, in the form, or not at all (a public client)."},
    {"scopes", GR_CONFIG_LIST, OF(scopes), "openid,profile,email", .text = "What is asked for; openid must be there."},
    {"userinfo", GR_CONFIG_SWITCH, OF(userinfo), "on", .text =
     "Whether attributes are also taken from the provider's userinfo endpoint."},
    {"subject", GR_CONFIG_TEXT, OF(subject), "{sub}", .text =
     "Template: what tells one person of the provider from another, for ever. CAS: {user} is meant where this is {sub}."},
    {"localpart", GR_CONFIG_TEXT, OF(localpart), "{preferred_username}", .text =
     "Template: the user name of a new account. {name} stands for an attribute; {name:localpart} for what stands before an @ "
     "in it. Capitals become small; where the result is no user name, the person picks one. CAS: {user} is the name that CAS "
     "gives."},
    {"display_name", GR_CONFIG_TEXT, OF(display_name), "{name}", .text = "Template: the display name of a new account."},
    {"registration", GR_CONFIG_SWITCH, OF(registration), "on", .text = "Whether accounts are made for those who have none yet."},
    {"pick_name", GR_CONFIG_SWITCH, OF(pick_name), "off", .text =
     "Whether people with a new account see a page to choose their user name even when the template gives a free one."},
    {"link_existing", GR_CONFIG_SWITCH, OF(link_existing), "off", .text =
     "Whether somebody new from this provider gets the account that has the user name of the template already. Only where "
     "the provider's user names are those of this server: whoever can choose one there gets the account here."},
};

static const gr_config_key keys[] = {
    {"server_name", GR_CONFIG_SERVER_NAME, AT(server_name), "", .needed = true, .text =
     "The name of this server: what stands behind the colon in @user:server_name. It can't be changed "
     "later, because it is part of every user id, event and signature."},
    {"public_base_url", GR_CONFIG_URL, AT(public_base_url), "", .text =
     "The address under which clients reach this server, for example https://matrix.example.org. Given "
     "out by /.well-known/matrix/client; left empty, that page names https:// and the server's name."},
    {"registration", GR_CONFIG_CHOICE, AT(registration), "closed", "open|token|closed", .text =
     "Who may register: anybody (open), those with a registration token (token), or only users made "
     "with `greenroom user add` (closed)."},
    {"registration_shared_secret", GR_CONFIG_SECRET, AT(registration_shared_secret), "", .text =
     "Who knows this secret may make accounts, administrators too, with tools that were written for Synapse "
     "(/_synapse/admin/v1/register), whatever `registration` says. Empty: nobody may."},
    {"guests", GR_CONFIG_SWITCH, AT(guests), "off", .text =
     "Whether visitors may have accounts without a name of their own choice and without a password. "
     "Guests enter only rooms that let guests in."},
    {"oauth", GR_CONFIG_SWITCH, AT(oauth), "on", .text =
     "Whether clients may log in by the OAuth 2.0 API, on pages of this server, besides the legacy one. It needs "
     "public_base_url to be right, and paths under /_greenroom/ to be passed on by a reverse proxy."},
    {"rate_limits", GR_CONFIG_SWITCH, AT(rate_limits), "on", .text =
     "Limits on requests per user, device and address. Off only for measurements and tests."},
    {"default_room_version", GR_CONFIG_WORD, AT(default_room_version), "12", "1|2|3|4|5|6|7|8|9|10|11|12",
     .text =
     "The version of rooms created without naming one."},
    {"workers", GR_CONFIG_COUNT, AT(workers), "0", .high = 256, .text =
     "Worker threads that run actors. 0 takes one less than the number of processors. May change at "
     "every start."},
    {"message_log", GR_CONFIG_CHOICE, AT(message_log), "on", "on|full|off", .text =
     "The record of all messages between actors, read by `greenroom trace`: envelopes and times (on), "
     "also bodies without their content and secrets (full), or nothing (off)."},
    {"message_log_size", GR_CONFIG_SIZE, AT(message_log_size), "256MB", .low = MIB, .high = 1024 * GIB,
     .text =
     "The message log keeps at most this much; the oldest segments go first."},
    {"message_log_age", GR_CONFIG_DURATION, AT(message_log_age_ms), "24h", .low = 60 * SECOND,
     .high = 365 * DAY, .text =
     "The message log keeps nothing older than this."},
    {"disk_reserve", GR_CONFIG_SIZE, AT(disk_reserve), "256MB", .low = MIB, .high = 1024 * GIB, .text =
     "When less than this is free on the disk, writes are refused with status 503; reading and "
     "deleting go on."},

    {"listen.client", GR_CONFIG_ADDRESS, AT(listen_client), "127.0.0.1:8008", .text =
     "Where clients (or the reverse proxy before them) connect: address:port, [IPv6]:port, or off. "
     "Port 0 lets the system choose."},
    {"listen.federation", GR_CONFIG_ADDRESS, AT(listen_federation), "off", .text =
     "Where other servers connect: address:port or off. They look for port 8448 unless told otherwise "
     "by a .well-known file or an SRV record."},
    {"listen.metrics", GR_CONFIG_ADDRESS, AT(listen_metrics), "off", .text =
     "Where Prometheus reads /metrics: address:port or off. There is no password: use a private "
     "address."},
    {"listen.admin", GR_CONFIG_PATH, AT(listen_admin), "admin.sock", .text =
     "The Unix socket through which commands like `greenroom top` reach the running server. Relative "
     "to the data directory; only its owner may open it."},

    {"tls.certificate", GR_CONFIG_PATH, AT(tls_certificate), "", .text =
     "A PEM file with the server's certificate and its chain. Empty: no TLS, for use behind a reverse "
     "proxy."},
    {"tls.key", GR_CONFIG_PATH, AT(tls_key), "", .text =
     "The PEM file with the private key of tls.certificate."},
    {"tls.listeners", GR_CONFIG_CHOICE, AT(tls_listeners), "federation", "federation|client|both", .text =
     "Which listeners speak TLS when tls.certificate is set; the others speak plain HTTP."},

    {"federation.trusted_ca", GR_CONFIG_PATH, AT(federation_trusted_ca), "", .text =
     "A PEM file of certificate authorities that are trusted for other servers instead of the system's."},
    {"federation.allow_private_addresses", GR_CONFIG_SWITCH, AT(federation_allow_private_addresses), "off",
     .text =
     "Whether other servers may be at loopback and private addresses. On only in a closed network or "
     "for tests: otherwise strangers can make this server send requests into your network."},
    {"federation.address_allow", GR_CONFIG_LIST, AT(federation_address_allow), "", .text =
     "Addresses and ranges (10.1.0.0/16, fd00::/8) that may be connected to although the two keys above and below say no."},
    {"federation.address_deny", GR_CONFIG_LIST, AT(federation_address_deny), "", .text =
     "Addresses and ranges that other servers may not be at, besides the private ones."},
    {"federation.server_allow", GR_CONFIG_LIST, AT(federation_server_allow), "", .text =
     "Names of the only servers to talk with, in both directions; * stands for any characters. Empty: all."},
    {"federation.server_deny", GR_CONFIG_LIST, AT(federation_server_deny), "", .text =
     "Names of servers not to talk with, in both directions; * stands for any characters."},
    {"federation.notaries", GR_CONFIG_LIST, AT(federation_notaries), "", .text =
     "Servers that are asked for the signing keys of others. Each is trusted not to lie about them."},
    {"federation.old_keys", GR_CONFIG_LIST, AT(federation_old_keys), "", .check = is_old_key, .text =
     "Signing keys of this server that are no longer used, so that what they signed can be checked: "
     "`ed25519:NAME PUBLICKEY TIME`, with the public key in base64 and the time of its last use in milliseconds since 1970."},
    {"federation.well_known", GR_CONFIG_SERVER_NAME, AT(federation_well_known), "", .text =
     "What /.well-known/matrix/server answers: the name, and perhaps port, under which other servers are to reach this "
     "one. Empty: that page is not served."},
    {"federation.well_known_port", GR_CONFIG_COUNT, AT(federation_well_known_port), "443", .low = 1, .high = 65535, .text =
     "The port at which other servers are asked for /.well-known/matrix/server. Another than 443 only for tests."},
    {"federation.dns_servers", GR_CONFIG_TEXT, AT(federation_dns_servers), "", .text =
     "Name servers to ask for SRV records, as address:port separated by commas. Empty: the system's."},
    {"federation.retry.first", GR_CONFIG_DURATION, AT(federation_retry_first_ms), "10m", .low = 1,
     .high = DAY, .text =
     "The first wait after a server could not be reached and the quick repeats are used up."},
    {"federation.retry.factor", GR_CONFIG_REAL, AT(federation_retry_factor), "2", .low = 1, .high = 10,
     .text =
     "Each further wait is this many times the one before."},
    {"federation.retry.max", GR_CONFIG_DURATION, AT(federation_retry_max_ms), "7d", .low = 1,
     .high = 365 * DAY, .text =
     "No wait is longer than this."},
    {"federation.retry.jitter", GR_CONFIG_REAL, AT(federation_retry_jitter), "0.2", .low = 0, .high = 1,
     .text =
     "Each wait is made longer or shorter by a random part of this fraction, so that not all servers "
     "are tried at the same moment."},
    {"federation.catch_up_after", GR_CONFIG_DURATION, AT(federation_catch_up_after_ms), "1h", .low = 1,
     .high = 365 * DAY, .text =
     "When a server has failed for longer than this, and the next wait for it is longer too, its queue is dropped and only "
     "the newest event of each room is remembered, to be sent when it is back."},
    {"federation.catch_up_page", GR_CONFIG_COUNT, AT(federation_catch_up_page), "50", .low = 1, .high = 200,
     .text =
     "How many rooms are caught up at a time for one server."},
    {"federation.queue_events", GR_CONFIG_COUNT, AT(federation_queue_events), "1000", .low = 50, .high = 1e6,
     .text =
     "How many events wait for one server before the oldest are folded into the newest of their rooms."},
    {"federation.queue_size", GR_CONFIG_SIZE, AT(federation_queue_size), "8MB", .low = MIB, .high = GIB,
     .text =
     "The same bound in bytes."},

    {"http.max_connections", GR_CONFIG_COUNT, AT(http_max_connections), "16000", .low = 16, .high = 1e6,
     .text =
     "Open connections of clients and servers together; more are refused. The limit on open files "
     "(`ulimit -n`) must be 2,000 higher."},
    {"http.requests_in_flight", GR_CONFIG_COUNT, AT(http_requests_in_flight), "512", .low = 1, .high = 1e6,
     .text =
     "Requests being worked on at one time, long polls not counted. More are answered with 429."},
    {"http.max_body", GR_CONFIG_SIZE, AT(http_max_body), "16MB", .low = 128 * KIB, .high = 256 * MIB, .text =
     "The largest request body that is not an upload."},
    {"http.max_answer", GR_CONFIG_SIZE, AT(http_max_answer), "64MB", .low = MIB, .high = GIB, .text =
     "The largest answer put together from many pieces, such as all members of a large room. Each member "
     "takes about 300 bytes."},
    {"http.header_timeout", GR_CONFIG_DURATION, AT(http_header_timeout_ms), "10s", .low = 100, .high = HOUR,
     .text =
     "How long a client may take to send the head of a request."},
    {"http.idle_timeout", GR_CONFIG_DURATION, AT(http_idle_timeout_ms), "75s", .low = SECOND, .high = HOUR,
     .text =
     "How long a connection without a request stays open: longer than the reverse proxy's."},
    {"http.stop_timeout", GR_CONFIG_DURATION, AT(http_stop_timeout_ms), "5s", .low = 0, .high = 10 * SECOND,
     .text =
     "How long requests may still take when the server is told to stop."},

    {"cluster.file", GR_CONFIG_PATH, AT(cluster_file), "", .text =
     "The cluster file, the same for every node: which nodes there are, and which shards each runs "
     "(docs/cluster.md). Relative to the data directory. Empty: this node is the whole server."},
    {"cluster.node", GR_CONFIG_TEXT, AT(cluster_node), "n1", .text =
     "The name of this node: the one that it has in the cluster file."},
    {"cluster.listen", GR_CONFIG_TEXT, AT(cluster_listen), "", .text =
     "Where this node waits for the others, as host:port, when that is not its address in the cluster "
     "file, for example 0.0.0.0:18481."},

    {"media.max_upload", GR_CONFIG_SIZE, AT(media_max_upload), "50MB", .low = KIB, .high = 4 * GIB, .text =
     "The largest file that may be uploaded."},
    {"turn.uris", GR_CONFIG_LIST, AT(turn_uris), "", .text =
     "Addresses of the TURN server for calls, for example [\"turn:turn.example.org?transport=udp\"]."},
    {"turn.shared_secret", GR_CONFIG_SECRET, AT(turn_shared_secret), "", .text =
     "The secret shared with the TURN server (its static-auth-secret)."},
    {"turn.ttl", GR_CONFIG_DURATION, AT(turn_ttl_ms), "24h", .low = 60 * SECOND, .high = 30 * DAY, .text =
     "How long the TURN passwords given out are good for."},
    {"appservices", GR_CONFIG_LIST, AT(appservices), "", .text =
     "Registration files of application services (bridges), relative to the data directory. Their users can be made and logged "
     "in with their token; nobody else gets a name that they want for themselves."},
    {"account_validity.period", GR_CONFIG_DURATION, AT(validity_period_ms), "0s", .low = 0, .high = 3650 * DAY, .text =
     "New accounts are valid so long; then their users can't use them until they are renewed, by the mail that is sent before "
     "or with `greenroom user valid`. 0s: for ever."},
    {"account_validity.warn", GR_CONFIG_DURATION, AT(validity_warn_ms), "7d", .low = 0, .high = 365 * DAY, .text =
     "So long before the end the mail is sent by which an account can be renewed, to the addresses it has."},
    {"email.server", GR_CONFIG_TEXT, AT(email_server), "", .text =
     "The mail server (SMTP) that takes this server's mails, as host:port. Empty: there is no email: no addresses in accounts, "
     "and passwords are not reset by mail. Needs email.from and public_base_url."},
    {"email.tls", GR_CONFIG_CHOICE, AT(email_tls), "starttls", "starttls|tls|off", .text =
     "How the mail server is spoken with: in plain text until TLS is agreed on (starttls, mostly port 587), by TLS from the "
     "beginning (tls, port 465), or without TLS (off): only for a mail server on the same machine."},
    {"email.trusted_ca", GR_CONFIG_PATH, AT(email_trusted_ca), "", .text =
     "A PEM file of certificate authorities that are trusted for the mail server instead of the system's."},
    {"email.user", GR_CONFIG_TEXT, AT(email_user), "", .text =
     "The name under which to log in to the mail server. Empty: it wants none."},
    {"email.password", GR_CONFIG_SECRET, AT(email_password), "", .text =
     "The password that goes with email.user."},
    {"email.from", GR_CONFIG_TEXT, AT(email_from), "", .text =
     "The address that mails come from, for example noreply@example.org."},
    {"email.registration", GR_CONFIG_CHOICE, AT(email_registration), "off", "off|optional|required", .text =
     "Whether people give an email address when they register, which they have to confirm."},
    {"terms.policies", GR_CONFIG_LIST, AT(terms_policies), "", .check = is_term, .text =
     "What people agree to before they register, each as `NAME VERSION LANGUAGE URL TITLE`, for example `privacy 1.2 en "
     "https://example.org/privacy Privacy policy`. The same name in several languages makes one policy. Empty: nothing is "
     "asked."},
    {"password.min_length", GR_CONFIG_COUNT, AT(password_min_length), "8", .low = 1, .high = 512, .text =
     "The shortest password that is accepted."},
    {"password.require", GR_CONFIG_LIST, AT(password_require), "", .check = is_password_need, .text =
     "What a password has to contain at least once: any of lowercase, uppercase, digit, symbol. Length is worth more: people "
     "answer such rules with `Password1!`."},
    {"password.guesses", GR_CONFIG_COUNT, AT(password_guesses), "10", .low = 0, .high = 1000, .text =
     "So many wrong passwords for one account are let pass; after that each further try has to wait, 1 second, then twice "
     "as long as before. Addresses at which the user's own devices were seen are counted apart from all others, so that a "
     "stranger can't lock anybody out. 0: no such limit."},
    {"password.guess_wait", GR_CONFIG_DURATION, AT(password_guess_wait_ms), "15m", .low = SECOND, .high = DAY, .text =
     "The longest of those waits."},
    {"password.memory", GR_CONFIG_SIZE, AT(password_memory), "64MB", .low = 8 * MIB, .high = GIB, .text =
     "Memory used to hash one password (Argon2id). Higher is safer against a stolen database and "
     "slower."},
    {"password.bcrypt_cost", GR_CONFIG_COUNT, AT(password_bcrypt_cost), "0", .low = 0, .high = GR_PASSWORD_BCRYPT_COST_MAX,
     .text =
     "Up to which cost hashes of bcrypt are taken from another server (12 is common). Each check of a password then does that "
     "much work of bcrypt as well, whosever it is, so that the time of an answer does not show who came from there. 0: none "
     "are taken; set it back to this when those who moved have logged in."},
    {"presence.enabled", GR_CONFIG_SWITCH, AT(presence), "on", .text =
     "Whether users see who of those in their rooms is online, here and on other servers."},
    {"presence.room_members", GR_CONFIG_COUNT, AT(presence_room_max), "1000", .low = 0, .high = 1e6, .text =
     "Presence is told in rooms with at most so many members: in larger ones it costs much and says little."},
    {"rooms.redaction_retention", GR_CONFIG_DURATION, AT(rooms_redaction_retention_ms), "7d", .low = 0,
     .high = 3650 * DAY, .text =
     "How long the content of a redacted event stays in the store, where only the owner of the server could "
     "look at it. After that it is gone for good. 0s: at once."},
    {"sync.timeline_limit_max", GR_CONFIG_COUNT, AT(sync_timeline_limit_max), "500", .low = 1, .high = 10000,
     .text =
     "The most events of one room in one answer to /sync and /messages, whatever the client asks for."},
    {"sync.timeout_max", GR_CONFIG_DURATION, AT(sync_timeout_max_ms), "5m", .low = SECOND, .high = HOUR,
     .text =
     "The longest a /sync waits for something new, whatever the client asks for."},
    {"tokens.access_lifetime", GR_CONFIG_DURATION, AT(tokens_access_lifetime_ms), "1h", .low = SECOND,
     .high = 365 * DAY, .text =
     "How long an access token is good for when the client asked for a refresh token with it. Others "
     "don't expire."},
    {"tokens.login_lifetime", GR_CONFIG_DURATION, AT(tokens_login_lifetime_ms), "2m", .low = SECOND, .high = HOUR, .text =
     "How long a login token is good for: what single sign-on gives to the client, and what one device asks for to let "
     "another in."},
    {"sso.providers", GR_CONFIG_TABLE, AT(sso_providers), "", .columns = providers,
     .column_count = sizeof providers / sizeof *providers, .row_size = sizeof(gr_config_provider),
     .row_max = GR_CONFIG_PROVIDERS_MAX, .text =
     "Identity providers that people may log in with. See docs/login.md for an example and for what to enter at the provider."},
    {"sso.trusted_clients", GR_CONFIG_LIST, AT(sso_trusted_clients), "", .text =
     "Addresses of clients to which people go back after single sign-on without being asked, for example "
     "https://app.example.org/. For any other a page names where they would go."},
    {"sso.preferred", GR_CONFIG_SWITCH, AT(sso_preferred), "off", .text =
     "Whether clients of the legacy API that know of OAuth 2.0 offer single sign-on and no password (oauth_aware_preferred). "
     "Only where everybody is known to one of the providers."},
    {"log.level", GR_CONFIG_CHOICE, AT(log_level), "info", "debug|info|warning|error", .text =
     "The least important lines that the server's log on standard error shows."},
    {"log.format", GR_CONFIG_CHOICE, AT(log_format), "text", "text|json", .text =
     "Lines for people (text) or one JSON object a line (json)."},
};
/* clang-format on */

const gr_config_key *gr_config_keys(size_t *count)
{
    *count = sizeof keys / sizeof keys[0];
    return keys;
}

const gr_config_key *gr_config_key_find(gr_str name)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (gr_str_is(name, keys[i].name)) return &keys[i];
    return NULL;
}

enum { NAME_MAX_SIZE = 64 };

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b; both at most NAME_MAX_SIZE. */
static size_t distance(gr_str a, gr_str b)
{
    static const size_t far = NAME_MAX_SIZE;
    size_t row[3][NAME_MAX_SIZE + 1];
    if (a.size > far || b.size > far) return far;
    for (size_t j = 0; j <= b.size; j++) row[0][j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t best = last[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1]
                && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[a.size % 3][b.size];
}

static gr_str last_part(gr_str name)
{
    for (size_t i = name.size; i > 0; i--)
        if (name.ptr[i - 1] == '.') return gr_str_from(name, i);
    return name;
}

const gr_config_key *gr_config_key_nearest(gr_str name)
{
    const gr_config_key *nearest = NULL;
    size_t least = name.size / 3 + 1;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t far = distance(name, gr_str_c(keys[i].name));
        if (far <= least && (far < least || !nearest)) {
            least = far;
            nearest = &keys[i];
        }
    }
    if (nearest) return nearest;
    /* Right key, wrong section: "max_upload" or "http.max_upload" means media.max_upload. */
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (gr_str_eq(last_part(name), last_part(gr_str_c(keys[i].name)))) return &keys[i];
    return NULL;
}
