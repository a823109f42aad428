/* admin_client.c - requests over the admin socket. See admin_client.h. */
#include "edge/admin_client.h"
#include "edge/cluster_file.h"

#include "proto/json.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TIMEOUT_S = 600 };

const char *gr_admin_client_dir(gr_arena *a, const char *given)
{
    const char *choices[] = {given, getenv("GREENROOM_DIR"), "data", "."};
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (!choices[i]) continue;
        gr_str file = gr_arena_printf(a, "%s/" GR_CONFIG_FILE, choices[i]);
        if (access(file.ptr, R_OK) == 0) return choices[i];
        if (i == 0) break;
    }
    gr_cli_failed(given ? "there is no " GR_CONFIG_FILE " in %s" : "say which data directory with --dir DIR (or GREENROOM_DIR)",
                  given);
    return NULL;
}

bool gr_admin_client_config(gr_config *config, const char *dir)
{
    gr_config_mistakes mistakes;
    gr_config_mistakes_init(&mistakes);
    bool good = gr_config_load(config, dir, environ, &mistakes);
    if (!good) gr_config_mistakes_print(&mistakes, stderr);
    gr_config_mistakes_free(&mistakes);
    return good;
}

gr_store *gr_admin_client_store(gr_arena *a, const char *dir, gr_str *server_name)
{
    gr_config config;
    gr_store *store = NULL;
    bool good = gr_admin_client_config(&config, dir);
    gr_store_options options = {.dir = gr_arena_printf(a, "%s/store", dir).ptr,
                                .server_name = gr_arena_str(a, gr_str_c(config.server_name))};
    gr_config_free(&config);
    *server_name = options.server_name;
    if (!good) return NULL;
    if (access(options.dir, F_OK) != 0) {
        gr_cli_failed("there is no store in %s yet: `greenroom run %s` makes it", dir, dir);
        return NULL;
    }
    gr_err err = gr_store_open(&options, a, &store);
    if (!gr_failed(err)) return store;
    if (strstr(err.text, "lock ")) gr_cli_failed("the store in %s is in use: stop the server that runs on it first", dir);
    else gr_cli_failed("%s", err.text);
    return NULL;
}

static size_t take(char *bytes, size_t size, size_t count, void *to)
{
    gr_buf_add(to, bytes, size * count);
    return size * count;
}

/* --- requests ---------------------------------------------------------------------------------------------------- */
typedef struct {
    CURL *curl;
    gr_buf got;
} transfer;

static void prepare(gr_arena *a, const char *socket, const gr_admin_call *call, transfer *t)
{
    t->curl = curl_easy_init();
    gr_assert(t->curl);
    curl_easy_setopt(t->curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    curl_easy_setopt(t->curl, CURLOPT_URL, gr_arena_printf(a, "http://greenroom%s", call->path).ptr);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, &t->got);
    if (!call->body.size) return;
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE, (long)call->body.size);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, call->body.ptr);
}

static void finish(gr_arena *a, const char *socket, gr_admin_call *call, transfer *t, const char *failure)
{
    long code = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    call->status = failure ? 0 : (int)code;
    call->answer = gr_arena_str(a, gr_buf_view(&t->got));
    if (failure)
        call->err = gr_failf(a, GR_UNAVAILABLE, "no node answers at %s (%s); start it with `greenroom run`", socket, failure);
    curl_easy_cleanup(t->curl);
    gr_buf_free(&t->got);
}

static void perform(gr_arena *a, const char *socket, gr_admin_call *calls, size_t count)
{
    transfer *transfers = gr_arena_alloc(a, (count + 1) * sizeof *transfers);
    const char **failures = gr_arena_alloc(a, (count + 1) * sizeof *failures);
    CURLM *all = curl_multi_init();
    CURLMsg *message;
    int running = 1, left;
    gr_assert(all);
    for (size_t i = 0; i < count; i++) {
        prepare(a, socket, &calls[i], &transfers[i]);
        failures[i] = "it was given up";
        curl_multi_add_handle(all, transfers[i].curl);
    }
    while (running && curl_multi_perform(all, &running) == CURLM_OK && running)
        if (curl_multi_poll(all, NULL, 0, 1000, NULL) != CURLM_OK) break;
    while ((message = curl_multi_info_read(all, &left)))
        for (size_t i = 0; i < count; i++)
            if (transfers[i].curl == message->easy_handle)
                failures[i] = message->data.result == CURLE_OK ? NULL : curl_easy_strerror(message->data.result);
    for (size_t i = 0; i < count; i++) {
        curl_multi_remove_handle(all, transfers[i].curl);
        finish(a, socket, &calls[i], &transfers[i], failures[i]);
    }
    curl_multi_cleanup(all);
}

void gr_admin_client_calls(gr_arena *a, const char *dir, gr_admin_call *calls, size_t count)
{
    gr_config config;
    for (size_t i = 0; i < count; i++)
        calls[i].err = gr_fail(GR_INVALID_PARAM, "the configuration has mistakes; see `greenroom check-config`");
    if (gr_admin_client_config(&config, dir)) {
        gr_str socket = gr_str_c(config.listen_admin);
        socket = socket.size && socket.ptr[0] == '/' ? socket : gr_arena_printf(a, "%s/admin.sock", dir);
        for (size_t i = 0; i < count; i++) calls[i].err = gr_ok();
        perform(a, gr_arena_str(a, socket).ptr, calls, count);
    }
    gr_config_free(&config);
}

/* What went wrong, for people; NULL when nothing did. */
static const char *failure_of(gr_arena *a, const gr_admin_call *call, bool with_code)
{
    const gr_json *said = NULL;
    if (gr_failed(call->err)) return call->err.text;
    if (call->status < 400) return NULL;
    if (gr_failed(gr_json_parse(a, call->answer, GR_JSON_LAX, &said)))
        return gr_arena_printf(a, "the node answered %d", call->status).ptr;
    gr_str error = gr_json_text(said, "error");
    if (!with_code) return gr_arena_str(a, error).ptr;
    return gr_arena_printf(a, "%" GR_FMT " (%" GR_FMT ")", GR_ARG(error), GR_ARG(gr_json_text(said, "errcode"))).ptr;
}

bool gr_admin_client_ask(gr_arena *a, const char *dir, const char *path, gr_str body, gr_str *answer)
{
    gr_admin_call call = {.path = path, .body = body};
    gr_admin_client_calls(a, dir, &call, 1);
    const char *failure = failure_of(a, &call, true);
    *answer = call.answer;
    if (failure) gr_cli_failed("%s", failure);
    return !failure;
}

gr_str gr_admin_client_encoded(gr_arena *a, gr_str text)
{
    gr_buf out = {0};
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~/", c)))
            gr_buf_char(&out, (char)c);
        else gr_buf_printf(&out, "%%%02X", c);
    }
    gr_str made = gr_arena_str(a, gr_buf_view(&out));
    gr_buf_free(&out);
    return made;
}

/* --- the nodes of the cluster -------------------------------------------------------------------------------------- */
static gr_admin_node_answer *nodes_of(gr_arena *a, const gr_config *config, const gr_cluster *cluster, size_t *count)
{
    gr_admin_node_answer *out = gr_arena_alloc(a, (GR_CLUSTER_NODES_MAX + 1) * sizeof *out);
    out[0] = (gr_admin_node_answer){.node = gr_arena_str(a, gr_str_c(config->cluster_node)), .is_own = true};
    *count = 1;
    for (unsigned i = 0; i < cluster->node_count; i++) {
        const gr_cluster_node *n = &cluster->nodes[i];
        if (!n->is_revoked && strcmp(n->name, config->cluster_node) != 0)
            out[(*count)++].node = gr_arena_str(a, gr_str_c(n->name));
    }
    return out;
}

gr_admin_node_answer *gr_admin_client_nodes(gr_arena *a, const char *dir, size_t *count)
{
    gr_config config;
    gr_config_mistakes mistakes;
    gr_cluster cluster;
    gr_admin_node_answer *out = NULL;
    bool good = gr_admin_client_config(&config, dir);
    gr_config_mistakes_init(&mistakes);
    gr_cluster_init(&cluster, 0);
    if (good && config.cluster_file[0]) good = gr_cluster_file_read(&cluster, config.cluster_file, &mistakes);
    if (good) out = nodes_of(a, &config, &cluster, count);
    else gr_config_mistakes_print(&mistakes, stderr);
    gr_config_mistakes_free(&mistakes);
    gr_config_free(&config);
    return out;
}

void gr_admin_client_ask_nodes(gr_arena *a, const char *dir, const char *path, gr_admin_node_answer *nodes, size_t count)
{
    gr_admin_call calls[GR_CLUSTER_NODES_MAX + 1];
    size_t asked[GR_CLUSTER_NODES_MAX + 1], n = 0;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].why) continue;
        gr_str mark = gr_str_find(gr_str_c(path), '?') < 0 ? GR_STR("?") : GR_STR("&");
        gr_str other = gr_arena_printf(a, "%s%" GR_FMT "node=%" GR_FMT, path, GR_ARG(mark), GR_ARG(nodes[i].node));
        calls[n] = (gr_admin_call){.path = nodes[i].is_own ? path : other.ptr, .body = nodes[i].request};
        asked[n++] = i;
    }
    if (n) gr_admin_client_calls(a, dir, calls, n);
    for (size_t i = 0; i < n; i++) {
        nodes[asked[i]].status = calls[i].status;
        nodes[asked[i]].answer = calls[i].answer;
        nodes[asked[i]].why = failure_of(a, &calls[i], false);
    }
}

gr_admin_node_answer *gr_admin_client_all(gr_arena *a, const char *dir, const char *path, const char *only, size_t *count)
{
    gr_admin_node_answer *nodes = gr_admin_client_nodes(a, dir, count);
    size_t at = 0;
    if (!nodes) return NULL;
    while (only && at < *count && !gr_str_is(nodes[at].node, only)) at++;
    if (at == *count) {
        gr_cli_failed("there is no node %s in the cluster", only);
        return NULL;
    }
    if (only) {
        nodes += at;
        *count = 1;
    }
    gr_admin_client_ask_nodes(a, dir, path, nodes, *count);
    if (!nodes[0].why) return nodes;
    gr_cli_failed("%s", nodes[0].why);
    return NULL;
}

int gr_admin_client_show(gr_buf *out, const gr_admin_node_answer *nodes, size_t count, bool json)
{
    for (size_t i = 0; i < count; i++) {
        if (!nodes[i].why) continue;
        if (json) gr_cli_failed("%" GR_FMT " is missing: %s", GR_ARG(nodes[i].node), nodes[i].why);
        else gr_buf_printf(out, "%" GR_FMT " is missing: %s\n", GR_ARG(nodes[i].node), nodes[i].why);
    }
    int code = gr_cli_print(gr_buf_view(out));
    gr_buf_free(out);
    return code;
}
