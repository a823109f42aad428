/* admin_client.h - the command line's way to a running node: requests over its admin socket.
 *
 * A data directory is found by --dir, else GREENROOM_DIR, else ./data or the present directory when there is a
 * configuration in it.  Texts of errors say what to do next.
 */
#pragma once
#include "edge/cli.h"
#include "edge/config.h"
#include "persistence/store.h"

/* The directory to work on; NULL after it has said on standard error that there is none. */
const char *gr_admin_client_dir(gr_arena *, const char *given);
/* Loads DIR's configuration; says what is wrong and gives false otherwise.  Followed by gr_config_free in both cases. */
bool gr_admin_client_config(gr_config *, const char *dir);
/* Opens the store of a stopped server, to be closed by the caller; says why not and gives NULL otherwise.  *server_name: whose
 * it is, in the arena. */
gr_store *gr_admin_client_store(gr_arena *, const char *dir, gr_str *server_name);
/* One request; body empty: GET. */
typedef struct {
    const char *path;
    gr_str body;
    int status;            /* of HTTP; 0: no node answered at the socket, and err says so */
    gr_str answer;         /* in the arena */
    gr_err err;
} gr_admin_call;
/* All at the same time. */
void gr_admin_client_calls(gr_arena *, const char *dir, gr_admin_call *, size_t count);
/* One request for commands: prints errors (of the node too) and gives false. */
bool gr_admin_client_ask(gr_arena *, const char *dir, const char *path, gr_str body, gr_str *answer);
/* Percent-encodes what a query parameter may not contain as it is. */
gr_str gr_admin_client_encoded(gr_arena *, gr_str);

/* --- the nodes of the cluster --- */
typedef struct {
    gr_str node;
    bool is_own;           /* of the data directory */
    gr_str request;        /* body; empty: GET */
    int status;
    gr_str answer;
    const char *why;       /* there is no answer; else NULL */
} gr_admin_node_answer;
/* The own node first, then the others in the order of the cluster file, without those that are revoked. NULL after
 * it has said what is wrong with a file. */
gr_admin_node_answer *gr_admin_client_nodes(gr_arena *, const char *dir, size_t *count);
/* Asks each node over the own one, all at the same time; only those that have no `why` yet. */
void gr_admin_client_ask_nodes(gr_arena *, const char *dir, const char *path, gr_admin_node_answer *, size_t count);
/* For commands: the answers of all nodes, or with `only` of that one. NULL after it has said that the own node, or the
 * one that was named, does not answer. */
gr_admin_node_answer *gr_admin_client_all(gr_arena *, const char *dir, const char *path, const char *only, size_t *count);
/* Prints the buffer and frees it, and after it names the nodes that did not answer; with json on standard error. Gives
 * the exit code. */
int gr_admin_client_show(gr_buf *, const gr_admin_node_answer *, size_t count, bool json);
