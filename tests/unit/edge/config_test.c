/* config_test.c - facts about the configuration and the key files. */
#include "edge/config.h"
#include "edge/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    gr_config config;
    gr_config_mistakes mistakes;
} fixture;

static int set_up(void **state)
{
    fixture *f = gr_alloc(sizeof *f);
    gr_config_init(&f->config, "/srv/data");
    gr_config_mistakes_init(&f->mistakes);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    gr_config_free(&f->config);
    gr_config_mistakes_free(&f->mistakes);
    free(f);
    return 0;
}

static void parse(fixture *f, const char *yaml)
{
    gr_config_parse(&f->config, gr_str_c(yaml), "x.yaml", &f->mistakes);
}

static void parsed_without_mistake(fixture *f, const char *yaml)
{
    parse(f, yaml);
    if (f->mistakes.count) gr_config_mistakes_print(&f->mistakes, stderr);
    assert_int_equal(f->mistakes.count, 0);
}

/* Exactly one mistake there, whose text has the part. */
static void one_mistake(fixture *f, const char *yaml, unsigned line, unsigned column, const char *part)
{
    f->mistakes.count = 0;
    parse(f, yaml);
    if (f->mistakes.count != 1) gr_config_mistakes_print(&f->mistakes, stderr);
    assert_int_equal(f->mistakes.count, 1);
    const gr_config_mistake *m = &f->mistakes.at[0];
    if (m->line != line || m->column != column || !strstr(m->text, part))
        fail_msg("wanted %u:%u ...%s..., got %u:%u %s", line, column, part, m->line, m->column, m->text);
}

static void defaults_are_what_the_documentation_says(void **state)
{
    const gr_config *c = &((fixture *)*state)->config;
    assert_string_equal(c->listen_client.host, "127.0.0.1");
    assert_int_equal(c->listen_client.port, 8008);
    assert_null(c->listen_metrics.host);
    assert_string_equal(c->listen_admin, "/srv/data/admin.sock");
    assert_int_equal(c->registration, GR_CONFIG_REGISTRATION_CLOSED);
    assert_true(c->rate_limits);
    assert_int_equal(c->message_log_size, 256 << 20);
    assert_int_equal(c->message_log_age_ms, 24 * 3600 * 1000);
    assert_int_equal(c->federation_retry_first_ms, 600000);
    assert_int_equal(c->federation_retry_max_ms, 7 * 86400000);
    assert_int_equal(c->federation_catch_up_after_ms, 3600000);
    assert_int_equal(c->media_max_upload, 50 << 20);
    assert_string_equal(c->default_room_version, "12");
    assert_true(gr_config_workers(c) >= 1);
}

static void values_of_every_type_are_read(void **state)
{
    fixture *f = *state;
    parsed_without_mistake(f,
                           "server_name: matrix.example.org:8448\nrate_limits: off\nworkers: 3\n"
                           "registration: token\nmessage_log_size: 1 GB\ndefault_room_version: \"11\"\n"
                           "listen:\n  client: '[::1]:80'\n  federation: 0.0.0.0:8448\n  admin: /run/g.sock\n"
                           "federation:\n  retry: {first: 500ms, factor: 1.5}\n  trusted_ca: ca.pem\n"
                           "turn:\n  uris: [\"turn:a?transport=udp\", turn:b]\n");
    const gr_config *c = &f->config;
    assert_string_equal(c->server_name, "matrix.example.org:8448");
    assert_false(c->rate_limits);
    assert_int_equal(c->workers, 3);
    assert_int_equal(gr_config_workers(c), 3);
    assert_int_equal(c->registration, GR_CONFIG_REGISTRATION_TOKEN);
    assert_int_equal(c->message_log_size, 1 << 30);
    assert_string_equal(c->default_room_version, "11");
    assert_string_equal(c->listen_client.host, "::1");
    assert_int_equal(c->listen_federation.port, 8448);
    assert_string_equal(c->listen_admin, "/run/g.sock");
    assert_int_equal(c->federation_retry_first_ms, 500);
    assert_true(c->federation_retry_factor == 1.5);
    assert_string_equal(c->federation_trusted_ca, "/srv/data/ca.pem");
    assert_int_equal(c->turn_uris.count, 2);
    assert_string_equal(c->turn_uris.at[1], "turn:b");
}

static void a_dotted_key_and_a_section_mean_the_same(void **state)
{
    fixture *f = *state;
    parsed_without_mistake(f, "listen.client: 127.0.0.1:1\nfederation:\n  retry.max: 1d\n");
    assert_int_equal(f->config.listen_client.port, 1);
    assert_int_equal(f->config.federation_retry_max_ms, 86400000);
}

static void a_mistake_names_its_line_and_column(void **state)
{
    fixture *f = *state;
    one_mistake(f, "# x\nserver_nam: a\n", 2, 1, "did you mean server_name?");
    one_mistake(f, "listen:\n  clinet: 127.0.0.1:1\n", 2, 3, "did you mean listen.client?");
    one_mistake(f, "max_upload: 5MB\n", 1, 1, "did you mean media.max_upload?");
    one_mistake(f, "zzzzzzzzzz: 5MB\n", 1, 1, "config-docs");
    one_mistake(f, "workers: many\n", 1, 10, "whole number");
    one_mistake(f, "workers: -1\n", 1, 10, "whole number");
    one_mistake(f, "workers: 257\n", 1, 10, "from 0 to 256");
    one_mistake(f, "workers: [1]\n", 1, 10, "not a list");
    one_mistake(f, "message_log_age: 10\n", 1, 18, "10m");
    one_mistake(f, "message_log_size: 5 parsecs\n", 1, 19, "256MB");
    one_mistake(f, "message_log_size: 1KB\n", 1, 19, "from 1MB to 1TB");
    one_mistake(f, "registration: maybe\n", 1, 15, "open|token|closed");
    one_mistake(f, "rate_limits: maybe\n", 1, 14, "on or off");
    one_mistake(f, "rate_limits:\n", 1, 1, "no value");
    one_mistake(f, "workers: 1\nworkers: 2\n", 2, 1, "second time");
    one_mistake(f, "listen: 127.0.0.1:1\n", 1, 9, "is a section");
    one_mistake(f, "federation:\n  retry:\n    jitter: nan\n", 3, 13, "a number");
    one_mistake(f, "just text\n", 1, 1, "server_name: example.org");
    one_mistake(f, "a: b: c\n", 1, 5, "not YAML");
    one_mistake(f, "workers: \"1\n", 2, 1, "not YAML");
}

static void bad_addresses_names_and_urls_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"listen.client", "127.0.0.1"},
        {"listen.client", "8008"},
        {"listen.client", "1.2.3:80"},
        {"listen.client", "1.2.3.4:70000"},
        {"listen.client", "[::1:80"},
        {"listen.client", "[zz]:80"},
        {"listen.client", "a b:80"},
        {"listen.client", ":80"},
        {"listen.client", "::1:80"},
        {"server_name", "a b"},
        {"server_name", "a:port"},
        {"server_name", ":80"},
        {"server_name", "[::1"},
        {"server_name", "a:123456"},
        {"server_name", "a/b"},
        {"public_base_url", "example.org"},
        {"public_base_url", "https://"},
        {"public_base_url", "https:// a"},
        {"default_room_version", "13"},
        {"federation.retry.factor", "1e999"},
        {"federation.retry.factor", "2x"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gr_err e = gr_config_set(&f->config, gr_str_c(bad[i][0]), gr_str_c(bad[i][1]));
        if (!gr_failed(e)) fail_msg("%s took %s", bad[i][0], bad[i][1]);
        assert_non_null(strstr(e.text, bad[i][0]));
    }
    assert_int_equal(f->config.listen_client.port, 8008);
}

static void the_environment_overrides_the_file(void **state)
{
    fixture *f = *state;
    char *environment[] = {"GREENROOM_LISTEN_CLIENT=127.0.0.1:9",
                           "GREENROOM_FEDERATION_RETRY_MAX=2d",
                           "GREENROOM_SERVICE_HOST=10.0.0.1",
                           "HOME=/",
                           "GREENROOM_WORKERS=x",
                           NULL};
    parsed_without_mistake(f, "listen:\n  client: 127.0.0.1:1\n");
    gr_config_environment(&f->config, environment, &f->mistakes);
    assert_int_equal(f->config.listen_client.port, 9);
    assert_int_equal(f->config.federation_retry_max_ms, 2 * 86400000);
    assert_int_equal(f->mistakes.count, 1);
    assert_string_equal(f->mistakes.at[0].file, "environment variable GREENROOM_WORKERS");
}

static void the_whole_is_checked(void **state)
{
    fixture *f = *state;
    parsed_without_mistake(f, "listen:\n  client: off\ntls:\n  certificate: nowhere.pem\n");
    gr_config_check(&f->config, "x.yaml", &f->mistakes);
    assert_int_equal(f->mistakes.count, 4);
    assert_non_null(strstr(f->mistakes.at[0].text, "server_name is missing"));
    assert_non_null(strstr(f->mistakes.at[1].text, "tls.key is not"));
    assert_non_null(strstr(f->mistakes.at[2].text, "both off"));
    assert_non_null(strstr(f->mistakes.at[3].text, "can't read /srv/data/nowhere.pem"));
}

static void a_socket_path_must_fit_the_system(void **state)
{
    fixture *f = *state;
    char path[] =
        "/................................................................................................"
        "..........";
    assert_int_equal(strlen(path), 107);
    assert_false(gr_failed(gr_config_set(&f->config, GR_STR("server_name"), GR_STR("a.b"))));
    assert_false(gr_failed(gr_config_set(&f->config, GR_STR("listen.admin"), gr_str_c(path))));
    gr_config_check(&f->config, "x.yaml", &f->mistakes);
    assert_int_equal(f->mistakes.count, 0);
    char longer[sizeof path + 1];
    snprintf(longer, sizeof longer, "%s.", path);
    assert_false(gr_failed(gr_config_set(&f->config, GR_STR("listen.admin"), gr_str_c(longer))));
    gr_config_check(&f->config, "x.yaml", &f->mistakes);
    assert_int_equal(f->mistakes.count, 1);
}

static void ranges_of_addresses_are_checked(void **state)
{
    fixture *f = *state;
    parsed_without_mistake(f, "server_name: a.b\nfederation:\n  address_allow: [10.0.0.0/8, \"::1\"]\n"
                              "  address_deny: [10.0.0.0/99]\n");
    gr_config_check(&f->config, "x.yaml", &f->mistakes);
    assert_int_equal(f->mistakes.count, 1);
    assert_non_null(strstr(f->mistakes.at[0].text, "federation.address_deny: 10.0.0.0/99 is not an address or a range"));
}

static void an_old_key_that_is_none_is_named_with_its_line(void **state)
{
    fixture *f = *state;
    gr_str good = GR_STR("ed25519:a Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw 1700000000000");
    static const char *const bad[] = {"ed25519:a Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw", "rsa:a AAAA 1", "ed25519:a AAAA 1",
                                      "ed25519:a Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw soon", "nonsense"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f->mistakes.count = 0;
        gr_str text = gr_arena_printf(f->config.memory, "server_name: a.b\nfederation:\n  old_keys:\n    - %.*s\n    - %s\n",
                                      GR_ARG(good), bad[i]);
        parse(f, text.ptr);
        assert_int_equal(f->mistakes.count, 1);
        assert_true(f->mistakes.at[0].line >= 3 && f->mistakes.at[0].line <= 5);
        assert_non_null(strstr(f->mistakes.at[0].text, bad[i]));
    }
}

/* The file with its # before keys removed: what a person gets who uncomments everything. */
static void uncomment(gr_buf *out, gr_str text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.ptr[i] != '#' || text.ptr[i + 1] == ' ') gr_buf_char(out, text.ptr[i]);
}

static void the_written_file_reads_back(void **state)
{
    fixture *f = *state;
    gr_str names[] = {GR_STR("server_name"), GR_STR("turn.uris"), GR_STR("turn.shared_secret")};
    gr_str values[] = {GR_STR("a.b"), GR_STR("turn:x?y,turn:z"), GR_STR("q\"#: \\\n\x7f")};
    gr_buf text = {0}, all = {0};
    gr_config_write(&text, 3, names, values);
    gr_buf_char(&text, 0);
    parsed_without_mistake(f, text.ptr);
    assert_string_equal(f->config.server_name, "a.b");
    assert_int_equal(f->config.turn_uris.count, 2);
    assert_string_equal(f->config.turn_uris.at[0], "turn:x?y");
    assert_string_equal(f->config.turn_shared_secret, "q\"#: \\\n\x7f");
    gr_buf_clear(&text);
    gr_config_write(&text, 1, names, values);
    uncomment(&all, gr_buf_view(&text));
    gr_buf_char(&all, 0);
    parsed_without_mistake(f, all.ptr);
    gr_buf_free(&text);
    gr_buf_free(&all);
}

static void keys_of_a_section_stand_together_and_explain_themselves(void **state)
{
    (void)state;
    size_t count;
    const gr_config_key *keys = gr_config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        assert_true(strlen(keys[i].text) > 20 && keys[i].text[strlen(keys[i].text) - 1] == '.');
        const gr_config_key *same = gr_config_key_find(gr_str_c(keys[i].name));
        assert_ptr_equal(same, &keys[i]);
    }
}

static void documentation_is_what_the_table_says(void **state)
{
    (void)state;
    gr_buf wanted = {0}, found = {0};
    char piece[4096];
    size_t n;
    FILE *in = fopen("docs/configuration.md", "r");
    assert_non_null(in);
    while ((n = fread(piece, 1, sizeof piece, in)) > 0) gr_buf_add(&found, piece, n);
    fclose(in);
    gr_config_docs(&wanted);
    if (!gr_str_eq(gr_buf_view(&wanted), gr_buf_view(&found)))
        fail_msg("docs/configuration.md is old: run `greenroom config-docs > docs/configuration.md`");
    gr_buf_free(&wanted);
    gr_buf_free(&found);
}

static void deep_and_circular_yaml_ends(void **state)
{
    fixture *f = *state;
    parse(f, "federation: &a\n  retry: *a\n");
    assert_true(f->mistakes.count >= 1);
}

static void keys_are_made_once_and_read_back(void **state)
{
    fixture *f = *state;
    gr_arena *a = f->mistakes.memory;
    char dir[] = "/tmp/greenroom-keys-XXXXXX";
    gr_keys one, two;
    assert_non_null(mkdtemp(dir));
    assert_false(gr_failed(gr_keys_create(a, dir)));
    assert_false(gr_failed(gr_keys_load(a, dir, &one)));
    assert_false(gr_failed(gr_keys_create(a, dir)));
    assert_false(gr_failed(gr_keys_load(a, dir, &two)));
    assert_memory_equal(&one, &two, sizeof one);
    assert_memory_equal(one.key_id, "ed25519:a_", 10);

    const char *secrets = gr_arena_printf(a, "%s/secrets", dir).ptr,
               *signing = gr_arena_printf(a, "%s/signing.key", dir).ptr;
    FILE *out = fopen(secrets, "w"); /* as an older version left it */
    fputs("other AAAA", out);
    fclose(out);
    assert_false(gr_failed(gr_keys_load(a, dir, &two)));
    assert_memory_not_equal(one.token_check, two.token_check, sizeof one.token_check);
    assert_false(gr_failed(gr_keys_load(a, dir, &one)));
    assert_memory_equal(&one, &two, sizeof one);

    chmod(signing, 0644);
    assert_int_equal(gr_keys_load(a, dir, &one).code, GR_FORBIDDEN);
    chmod(signing, 0600);
    out = fopen(signing, "w");
    fputs("ed25519 a_1 AAAA\n", out);
    fclose(out);
    assert_int_equal(gr_keys_load(a, dir, &one).code, GR_INVALID_PARAM);
    unlink(signing);
    assert_int_equal(gr_keys_load(a, dir, &one).code, GR_NOT_FOUND);
    unlink(secrets);
    assert_int_equal(rmdir(dir), 0);
}

#define FACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* --- lists of maps ----------------------------------------------------------------------------------------- */
#define PROVIDER "sso:\n  providers:\n    - id: corp\n      name: Corp\n      issuer: https://id.example.org\n"

static void providers_are_a_list_of_maps_with_defaults(void **state)
{
    fixture *f = *state;
    parsed_without_mistake(f, PROVIDER "      client_id: me\n      client_secret: s\n      scopes: [openid, groups]\n"
                                       "    - {id: old, name: Old, kind: cas, issuer: https://cas.example.org/cas}\n");
    assert_int_equal(f->config.sso_providers.count, 2);
    const gr_config_provider *one = &f->config.sso_providers.at[0], *two = &f->config.sso_providers.at[1];
    assert_string_equal(one->client_id, "me");
    assert_string_equal(one->localpart, "{preferred_username}");
    assert_string_equal(one->icon, "");
    assert_int_equal(one->scopes.count, 2);
    assert_true(one->registration);
    assert_int_equal(two->kind, GR_CONFIG_PROVIDER_CAS);
    assert_int_equal(two->scopes.count, 3);
}

static void mistakes_in_a_list_of_maps_are_named_where_they_are(void **state)
{
    fixture *f = *state;
    one_mistake(f, PROVIDER "      client-id: x\n", 6, 18, "has no key \"client-id\"; there are id, name");
    one_mistake(f, PROVIDER "      kind: saml\n", 6, 13, "kind must be oidc|cas");
    one_mistake(f, "sso:\n  providers:\n    - id: a\n      name: A\n", 3, 7, "lacks issuer");
    one_mistake(f, PROVIDER "    - {id: corp, name: B, issuer: https://b}\n", 6, 7, "another entry with the id corp");
    one_mistake(f, PROVIDER "      icon: http://x/y.png\n", 6, 13, "icon must be an mxc:// address");
    one_mistake(f, "sso:\n  providers: corp\n", 2, 14, "must be a list of at most 64 entries");
    one_mistake(f, "sso:\n  providers:\n    - corp\n", 3, 7, "must consist of lines like `id: name`");
}

static void a_provider_without_what_it_needs_is_a_mistake(void **state)
{
    fixture *f = *state;
    parsed_without_mistake(f, "server_name: x\n" PROVIDER);
    gr_config_check(&f->config, "x.yaml", &f->mistakes);
    assert_int_equal(f->mistakes.count, 1);
    assert_non_null(strstr(f->mistakes.at[0].text, "sso.providers, corp: public_base_url must be set"));
}

static void single_sign_on_is_preferred_only_where_there_is_one(void **state)
{
    fixture *f = *state;
    parsed_without_mistake(f, "server_name: x\nsso:\n  preferred: on\n");
    gr_config_check(&f->config, "x.yaml", &f->mistakes);
    assert_int_equal(f->mistakes.count, 1);
    assert_non_null(strstr(f->mistakes.at[0].text, "sso.preferred is on, which needs sso.providers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FACT(defaults_are_what_the_documentation_says),
        FACT(values_of_every_type_are_read),
        FACT(a_dotted_key_and_a_section_mean_the_same),
        FACT(a_mistake_names_its_line_and_column),
        FACT(bad_addresses_names_and_urls_are_refused),
        FACT(the_environment_overrides_the_file),
        FACT(the_whole_is_checked),
        FACT(a_socket_path_must_fit_the_system),
        FACT(ranges_of_addresses_are_checked),
        FACT(an_old_key_that_is_none_is_named_with_its_line),
        FACT(the_written_file_reads_back),
        FACT(keys_of_a_section_stand_together_and_explain_themselves),
        FACT(documentation_is_what_the_table_says),
        FACT(deep_and_circular_yaml_ends),
        FACT(keys_are_made_once_and_read_back),
        FACT(providers_are_a_list_of_maps_with_defaults),
        FACT(mistakes_in_a_list_of_maps_are_named_where_they_are),
        FACT(a_provider_without_what_it_needs_is_a_mistake),
        FACT(single_sign_on_is_preferred_only_where_there_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
