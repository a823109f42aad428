/* cmd_registration_token.c - `greenroom registration-token`: tokens with which people may register. */
#include "edge/admin_client.h"
#include "edge/cli.h"

#include "proto/json.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

enum { RANDOM_BYTES = 12 };

typedef struct {
    gr_arena *arena;
    const char *dir, *uses, *days;
    bool json;
} tokens;

static bool ask(const tokens *t, const char *type, gr_str body, const gr_json **answer)
{
    gr_arena *a = t->arena;
    gr_str text;
    gr_str request = gr_arena_printf(a, "{\"to\":\"directory/registration_tokens\",\"type\":\"%s\",\"body\":%" GR_FMT "}", type,
                                     GR_ARG(body));
    const gr_json *reply = NULL;
    if (!gr_admin_client_ask(a, t->dir, "/send", request, &text)) return false;
    if (gr_failed(gr_json_parse(a, text, GR_JSON_LAX, &reply))) {
        gr_cli_failed("the node's answer can't be read");
        return false;
    }
    *answer = gr_json_get(reply, "body");
    return true;
}

static gr_str new_token(gr_arena *a)
{
    unsigned char random[RANDOM_BYTES];
    char text[2 * RANDOM_BYTES + 1];
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(text, sizeof text, random, sizeof random);
    return gr_arena_str(a, gr_str_c(text));
}

static int add(const tokens *t, const char *given)
{
    uint64_t uses = 0, days = 0;
    gr_buf body = {0};
    const gr_json *answer;
    gr_str token = given ? gr_str_c(given) : new_token(t->arena);
    if ((t->uses && (!gr_str_u64(gr_str_c(t->uses), &uses) || uses == 0 || uses > INT32_MAX))
        || (t->days && (!gr_str_u64(gr_str_c(t->days), &days) || days == 0 || days > 36500)))
        return gr_cli_misused(&gr_cmd_registration_token, "--uses and --days are whole numbers above 0");
    if (!gr_str_utf8(token)) return gr_cli_failed("a token is of A-Z a-z 0-9 . _ ~ -");
    gr_jw w = gr_jw_begin(&body);
    gr_jw_object(&w);
    gr_jw_kstr(&w, "token", token);
    gr_jw_kint(&w, "uses_allowed", (int64_t)uses);
    gr_jw_kint(&w, "expiry_ms", days ? ((int64_t)time(NULL) + (int64_t)days * 86400) * 1000 : 0);
    gr_jw_end_object(&w);
    bool good = ask(t, "registration_token_put", gr_buf_view(&body), &answer);
    gr_buf_free(&body);
    return good ? gr_cli_print(gr_arena_printf(t->arena, "%" GR_FMT "\n", GR_ARG(token))) : GR_CLI_FAILED;
}

static int drop(const tokens *t, const char *token)
{
    gr_buf body = {0};
    const gr_json *answer;
    if (!gr_str_utf8(gr_str_c(token))) return gr_cli_failed("a token is of A-Z a-z 0-9 . _ ~ -");
    gr_jw w = gr_jw_begin(&body);
    gr_jw_object(&w);
    gr_jw_kc(&w, "token", token);
    gr_jw_end_object(&w);
    bool good = ask(t, "registration_token_drop", gr_buf_view(&body), &answer);
    gr_buf_free(&body);
    return good ? GR_CLI_DONE : GR_CLI_FAILED;
}

static void print_one(const tokens *t, const gr_json *one, gr_buf *out)
{
    int64_t uses = gr_json_integer(gr_json_get(one, "uses_allowed"), 0);
    time_t until = (time_t)(gr_json_integer(gr_json_get(one, "expiry_time"), 0) / 1000);
    struct tm day;
    char text[16] = "-";
    if (t->json) {
        gr_json_print(out, one);
        gr_buf_c(out, "\n");
        return;
    }
    if (until && gmtime_r(&until, &day)) strftime(text, sizeof text, "%Y-%m-%d", &day);
    gr_buf_printf(out, "%-40" GR_FMT " uses %-8" PRId64 " until %s\n", GR_ARG(gr_json_text(one, "token")), uses, text);
}

static int list(const tokens *t)
{
    gr_buf out = {0};
    gr_str after = {0};
    do {
        const gr_json *answer = NULL;
        gr_str body = gr_arena_printf(t->arena, "{\"after\":\"%" GR_FMT "\"}", GR_ARG(after));
        if (!ask(t, "registration_token_list", body, &answer)) {
            gr_buf_free(&out);
            return GR_CLI_FAILED;
        }
        const gr_json *all = gr_json_get(answer, "registration_tokens");
        for (uint32_t i = 0; all && i < all->count; i++) print_one(t, &all->items[i], &out);
        after = gr_json_text(answer, "next");
    } while (after.size);
    int code = gr_cli_print(gr_buf_view(&out));
    gr_buf_free(&out);
    return code;
}

static int run(int argc, char **argv)
{
    tokens t = {0};
    const char *plain[2] = {0};
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &t.dir}, {.name = "--uses", .value = &t.uses},
                                     {.name = "--days", .value = &t.days}, {.name = "--json", .flag = &t.json}, {0}};
    if (!gr_cli_options(&gr_cmd_registration_token, argc, argv, options, plain, 1, 2, &count)) return GR_CLI_USAGE;
    bool is_add = strcmp(plain[0], "add") == 0, is_remove = strcmp(plain[0], "remove") == 0;
    bool is_list = strcmp(plain[0], "list") == 0 && count == 1;
    if (!is_add && !is_list && !(is_remove && count == 2))
        return gr_cli_misused(&gr_cmd_registration_token, "say add, list, or remove and a token");
    t.arena = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    if ((t.dir = gr_admin_client_dir(t.arena, t.dir)))
        code = is_add ? add(&t, plain[1]) : is_list ? list(&t) : drop(&t, plain[1]);
    gr_arena_free(&t.arena);
    return code;
}

const gr_cli_command gr_cmd_registration_token = {
    "registration-token", "give out, list or take back tokens with which people may register",
    "usage: greenroom registration-token add [TOKEN] [--uses N] [--days N] [--dir DIR]\n"
    "       greenroom registration-token list [--json] [--dir DIR]\n"
    "       greenroom registration-token remove TOKEN [--dir DIR]\n\n"
    "With `registration: token` in the configuration people register with one of these.  add prints the token, a new one\n"
    "if none is given.\n\n"
    "  --uses N       so many may register with it; without this any number\n"
    "  --days N       it ends after so many days\n"
    "  --json         one JSON object a line\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};
