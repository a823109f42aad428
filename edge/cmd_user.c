/* cmd_user.c - `greenroom user add` and `user import`: accounts made by the owner of the server. */
#include "edge/admin_client.h"

#include "proto/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MAX = 512 };

typedef struct {
    char text[PASSWORD_MAX + 2];
} password;

/* One line of standard input without its end; false at the end of input or when it is too long. */
static bool read_line(password *p)
{
    size_t size = 0;
    for (;;) {
        char c;
        ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0 || c == '\n') {
            p->text[size] = 0;
            return got > 0 || size > 0;
        }
        if (size > PASSWORD_MAX) return false;
        p->text[size++] = c;
    }
}

/* Asks on the terminal with echo off. */
static bool ask_once(const char *prompt, password *p)
{
    struct termios old, quiet;
    if (tcgetattr(STDIN_FILENO, &old) != 0) return false;
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fprintf(stderr, "%s", prompt);
    fflush(stderr);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0) return false;
    bool good = read_line(p);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    fprintf(stderr, "\n");
    return good;
}

static int get_password(const char *given, password *p)
{
    password again = {0};
    if (given) {
        if (strlen(given) > PASSWORD_MAX)
            return gr_cli_failed("the password is too long: at most %d bytes", PASSWORD_MAX);
        snprintf(p->text, sizeof p->text, "%s", given);
        return GR_CLI_DONE;
    }
    if (!isatty(STDIN_FILENO))
        return read_line(p) ? GR_CLI_DONE : gr_cli_failed("give the password as one line of standard input");
    bool same = ask_once("Password: ", p) && ask_once("Again: ", &again) && strcmp(p->text, again.text) == 0;
    explicit_bzero(&again, sizeof again);
    return same ? GR_CLI_DONE : gr_cli_failed("the two passwords are not the same; nothing was changed");
}

/* Has the node make an account; *user is its id.  False after it has said why not. */
static bool ask(gr_arena *a, const char *dir, const char *name, const char *key, const char *secret, bool admin, gr_str *user)
{
    gr_buf request = {0};
    gr_str answer;
    const gr_json *said = NULL;
    if (!gr_str_utf8(gr_str_c(secret)) || !gr_str_utf8(gr_str_c(name))) {
        gr_cli_failed("name and password have to be UTF-8");
        return false;
    }
    gr_jw w = gr_jw_begin(&request);
    gr_jw_object(&w);
    gr_jw_kc(&w, "name", name);
    gr_jw_kc(&w, key, secret);
    gr_jw_kbool(&w, "admin", admin);
    gr_jw_end_object(&w);
    bool good = gr_admin_client_ask(a, dir, "/user", gr_buf_view(&request), &answer);
    explicit_bzero(request.ptr, request.size);
    gr_buf_free(&request);
    if (good && gr_failed(gr_json_parse(a, answer, GR_JSON_LAX, &said))) {
        gr_cli_failed("the node's answer can't be read");
        good = false;
    }
    *user = good ? gr_json_string(gr_json_path(said, "body/user")) : (gr_str){0};
    return good;
}

static int add(gr_arena *a, const char *dir, const char *name, const char *key, const char *secret, bool admin, bool json)
{
    gr_str user;
    if (!ask(a, dir, name, key, secret, admin, &user)) return GR_CLI_FAILED;
    if (json)
        return gr_cli_print(gr_arena_printf(a, "{\"user_id\":\"%" GR_FMT "\",\"admin\":%s}\n", GR_ARG(user),
                                            admin ? "true" : "false"));
    return gr_cli_print(gr_arena_printf(a, "%" GR_FMT " can log in now%s.\n", GR_ARG(user),
                                        admin ? ", as an administrator" : ""));
}

static int run(int argc, char **argv)
{
    const char *name = NULL, *given = NULL, *hash = NULL, *dir = NULL;
    bool admin = false, json = false;
    size_t count = 0;
    password p = {0};
    const gr_cli_option options[] = {{.name = "--password", .value = &given}, {.name = "--password-hash", .value = &hash},
                                     {.name = "--admin", .flag = &admin}, {.name = "--json", .flag = &json},
                                     {.name = "--dir", .value = &dir}, {0}};
    if (!gr_cli_options(&gr_cmd_user_add, argc, argv, options, &name, 1, 1, &count)) return GR_CLI_USAGE;
    if (given && hash) return gr_cli_misused(&gr_cmd_user_add, "give a password or the hash of one, not both");
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    dir = gr_admin_client_dir(a, dir);
    if (dir && hash) code = add(a, dir, name, "password_hash", hash, admin, json);
    else if (dir && (code = get_password(given, &p)) == GR_CLI_DONE) {
        /* It is of no more use there, and listings of processes show it. */
        if (given) explicit_bzero((char *)given, strlen(given));
        code = add(a, dir, name, "password", p.text, admin, json);
    }
    explicit_bzero(&p, sizeof p);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_user_add = {
    "user add", "make an account on a running node",
    "usage: greenroom user add NAME [--password PASSWORD | --password-hash HASH] [--admin] [--json] [--dir DIR]\n\n"
    "Makes the account @NAME:server, whether registration is open or not.  The password is asked for without "
    "being\n"
    "shown, or read as one line from standard input when that is no terminal.\n\n"
    "  --password P   the password; prefer the other ways: others on this machine may see it for a moment\n"
    "  --password-hash H  the hash that another server had of it: bcrypt ($2b$...; see password.bcrypt_cost) or Argon2id\n"
    "  --admin        an administrator\n"
    "  --json         print the user id as JSON\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run};

/* --- many at once ------------------------------------------------------------------------------------------ */
typedef struct { size_t made, failed; } imported;

/* "NAME HASH": an account; what can't be made is said and left out.  @NAME:server is taken too. */
static void import_line(gr_arena *a, const char *dir, char *line, imported *n)
{
    gr_str user;
    char *rest = line, *name = strsep(&rest, " \t\r\n");
    char *hash = rest ? strsep(&rest, " \t\r\n") : NULL, *word = rest ? strsep(&rest, " \t\r\n") : NULL;
    if (!name[0] || name[0] == '#') return;
    if (name[0] == '@') name = strsep(&(char *){name + 1}, ":");
    bool good = hash && hash[0];
    if (!good) gr_cli_failed("%s: a line is NAME HASH, or NAME HASH admin", name);
    bool admin = word && strcmp(word, "admin") == 0;
    good = good && ask(a, dir, name, "password_hash", hash, admin, &user);
    if (good) n->made++;
    else {
        fprintf(stderr, "greenroom: %s was not imported\n", name);
        n->failed++;
    }
}

static int import(const char *dir, FILE *file)
{
    imported n = {0};
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) >= 0) {
        gr_arena *a = gr_arena_new(0);
        import_line(a, dir, line, &n);
        gr_arena_free(&a);
        explicit_bzero(line, room);
    }
    free(line);
    printf("%zu accounts were made, %zu could not be.\n", n.made, n.failed);
    return n.failed ? GR_CLI_FAILED : GR_CLI_DONE;
}

static int run_import(int argc, char **argv)
{
    const char *path = NULL, *dir = NULL;
    size_t count = 0;
    const gr_cli_option options[] = {{.name = "--dir", .value = &dir}, {0}};
    if (!gr_cli_options(&gr_cmd_user_import, argc, argv, options, &path, 1, 1, &count)) return GR_CLI_USAGE;
    gr_arena *a = gr_arena_new(0);
    int code = GR_CLI_FAILED;
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "r");
    if (!file) code = gr_cli_failed("can't read %s: %s", path, strerror(errno));
    else if ((dir = gr_admin_client_dir(a, dir))) code = import(dir, file);
    if (file && !is_stdin) fclose(file);
    gr_arena_free(&a);
    return code;
}

const gr_cli_command gr_cmd_user_import = {
    "user import", "make accounts of those of another server, with their passwords",
    "usage: greenroom user import FILE [--dir DIR]\n\n"
    "Each line of the file (- is standard input) is NAME HASH, or NAME HASH admin: the name of a user and the hash that\n"
    "the other server had of the password, bcrypt's ($2b$...; see password.bcrypt_cost) or Argon2id's.  The\n"
    "password stays what it was; the hash is replaced by one of this server when the user logs in.  Names that are taken are\n"
    "said and left alone.\n\n"
    "  --dir DIR      the data directory (else GREENROOM_DIR, ./data or the present directory)\n",
    run_import};
