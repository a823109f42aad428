/* admin_client.c - requests over the admin socket. See admin_client.h. */
#include "edge/admin_client.h"

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

static size_t take(char *bytes, size_t size, size_t count, void *to)
{
    gr_buf_add(to, bytes, size * count);
    return size * count;
}

static gr_err perform(gr_arena *a, const char *socket, const char *path, gr_str body, int *status, gr_str *answer)
{
    gr_buf got = {0};
    long code = 0;
    CURL *curl = curl_easy_init();
    gr_assert(curl);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    curl_easy_setopt(curl, CURLOPT_URL, gr_arena_printf(a, "http://greenroom%s", path).ptr);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got);
    if (body.size) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body.size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.ptr);
    }
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(curl);
    *status = (int)code;
    *answer = gr_arena_str(a, gr_buf_view(&got));
    gr_buf_free(&got);
    if (result == CURLE_OK) return gr_ok();
    return gr_failf(a, GR_UNAVAILABLE, "no node answers at %s (%s); start it with `greenroom run`", socket,
                    curl_easy_strerror(result));
}

gr_err gr_admin_client_call(gr_arena *a, const char *dir, const char *path, gr_str body, int *status, gr_str *answer)
{
    gr_config config;
    gr_err err = gr_fail(GR_INVALID_PARAM, "the configuration has mistakes; see `greenroom check-config`");
    *status = 0;
    *answer = (gr_str){0};
    if (gr_admin_client_config(&config, dir)) {
        gr_str socket = gr_str_c(config.listen_admin);
        socket = socket.size && socket.ptr[0] == '/' ? socket : gr_arena_printf(a, "%s/admin.sock", dir);
        err = perform(a, gr_arena_str(a, socket).ptr, path, body, status, answer);
    }
    gr_config_free(&config);
    return err;
}

bool gr_admin_client_ask(gr_arena *a, const char *dir, const char *path, gr_str body, gr_str *answer)
{
    int status = 0;
    const gr_json *said = NULL;
    gr_err err = gr_admin_client_call(a, dir, path, body, &status, answer);
    if (gr_failed(err)) {
        gr_cli_failed("%s", err.text);
        return false;
    }
    if (status < 400) return true;
    if (gr_failed(gr_json_parse(a, *answer, GR_JSON_LAX, &said))) gr_cli_failed("the node answered %d", status);
    else gr_cli_failed("%" GR_FMT " (%" GR_FMT ")", GR_ARG(gr_json_text(said, "error")), GR_ARG(gr_json_text(said, "errcode")));
    return false;
}
