/* load.c - gr_load, a light load generator for the client-server API: one thread, epoll, HTTP/1.1 keep-alive.
 *
 * A plan file names the server, or the nodes that connections are dealt to in turn, the senders (token and room) and the
 * readers (token and sync token):
 *     server ADDRESS PORT | filter ESCAPED_JSON | sender TOKEN ESCAPED_ROOM_ID | reader TOKEN SINCE
 * `send` lets senders PUT messages, in a closed loop or, with --rate, on a fixed schedule whatever the server
 * does: then latency counts from the moment a message was due, so a stall of the server is not left out of
 * the figures.  Readers follow /sync meanwhile; messages carry their number, so that delivery is timed and
 * lost or repeated ones are counted.  `get` repeats one GET; `idle` holds long polls until standard input
 * ends.  The result is JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS_MAX = 16, EVENTS_MAX = 512, LINE_MAX_SIZE = 8192, REQUEST_MAX = 8192, READ_SIZE = 65536, DRAIN_US = 5000000 };
static const char MARK[] = "load-number ";

typedef enum { ROLE_SENDER, ROLE_READER, ROLE_GETTER } conn_role;

typedef struct {
    char *token, *place;
} account; /* place: the room of a sender, the sync token of a reader */

typedef struct {
    account *items;
    size_t count;
} accounts;

typedef struct {
    uint64_t begun_us;
    bool acknowledged, counted;
    uint8_t deliveries;
} message;

typedef struct {
    uint32_t *items;
    size_t count, room;
} samples; /* microseconds */

typedef struct {
    conn_role role;
    size_t index;
    int fd;
    bool busy;
    const account *who;
    char *since;
    uint32_t number;   /* of the message under way */
    uint64_t begun_us; /* when the request was due or sent */
    char *in;
    size_t in_size, in_room;
    size_t head_size, body_size; /* of the answer being read; head_size 0 while the head is incomplete */
    bool chunked, closes;
} conn;

static struct {
    const char *mode, *path;
    struct sockaddr_in servers[SERVERS_MAX];
    size_t server_count;
    char *filter;
    accounts senders, readers;
    size_t connections, padding;
    double seconds, warmup_s, rate;
    bool spread;
} plan;

static struct {
    int epoll, timer;
    uint64_t start_us, counting_us, end_us;
    message *messages;
    size_t message_count, message_room;
    samples send, deliver;
    size_t done, errors, reconnects, delivered, repeated, unknown, late_max;
    char first_error[300];
} run;

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("gr_load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *grown(void *items, size_t *room, size_t needed, size_t size)
{
    if (needed <= *room) return items;
    while (*room < needed) *room = *room ? *room * 2 : 64;
    items = realloc(items, *room * size);
    if (!items) die("out of memory");
    return items;
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void sample_add(samples *to, uint64_t us)
{
    to->items = grown(to->items, &to->room, to->count + 1, sizeof *to->items);
    to->items[to->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void error_note(const char *what, size_t size)
{
    run.errors++;
    if (!run.first_error[0]) snprintf(run.first_error, sizeof run.first_error, "%.*s", (int)size, what);
}

/* Connections */

static void conn_open(conn *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket: %s", strerror(errno));
    if (plan.spread) {
        /* One source address has too few ports for very many connections. */
        struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(c->index % 16))};
        int on = 1;
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) die("bind: %s", strerror(errno));
    }
    const struct sockaddr_in *to = &plan.servers[c->index % plan.server_count];
    if (connect(c->fd, (const struct sockaddr *)to, sizeof *to)) die("connect: %s", strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, c->fd, &event);
    c->busy = false;
    c->in_size = c->head_size = 0;
}

static void conn_reopen(conn *c)
{
    close(c->fd);
    run.reconnects++;
    conn_open(c);
}

static void conn_send(conn *c, const char *request, size_t size)
{
    c->busy = true;
    c->in_size = c->head_size = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        /* A request is far smaller than a socket buffer, which is empty: nothing else is under way here. */
        if (send(c->fd, request, size, MSG_NOSIGNAL) == (ssize_t)size) return;
        conn_reopen(c);
        c->busy = true;
    }
    die("cannot send: %s", strerror(errno));
}

/* Requests */

static void sender_start(conn *c, uint64_t due_us)
{
    run.messages = grown(run.messages, &run.message_room, run.message_count + 1, sizeof *run.messages);
    c->number = (uint32_t)run.message_count++;
    c->begun_us = due_us;
    run.messages[c->number] = (message){.begun_us = due_us, .counted = due_us >= run.counting_us};
    char body[REQUEST_MAX / 2], request[REQUEST_MAX];
    int body_size =
        snprintf(body, sizeof body, "{\"msgtype\":\"m.text\",\"body\":\"%s%u. %.*s\"}", MARK, c->number,
                 (int)plan.padding,
                 "It is a truth universally acknowledged, that a chat of a good size "
                 "must be in want of a line of the usual length, and so this one goes on for a while.");
    int size =
        snprintf(request, sizeof request,
                 "PUT /_matrix/client/v3/rooms/%s/send/m.room.message/l%d-%u HTTP/1.1\r\nHost: localhost\r\n"
                 "Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                 c->who->place, (int)getpid(), c->number, c->who->token, body_size, body);
    conn_send(c, request, (size_t)size);
}

static void reader_start(conn *c, int timeout_ms)
{
    char request[REQUEST_MAX];
    int size =
        snprintf(request, sizeof request,
                 "GET /_matrix/client/v3/sync?timeout=%d&since=%s&filter=%s HTTP/1.1\r\nHost: localhost\r\n"
                 "Authorization: Bearer %s\r\n\r\n",
                 timeout_ms, c->since, plan.filter, c->who->token);
    c->begun_us = now_us();
    conn_send(c, request, (size_t)size);
}

static void getter_start(conn *c)
{
    char request[REQUEST_MAX];
    bool with_token = c->who && c->who->token;
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s%s\r\n",
                        plan.path, with_token ? "Authorization: Bearer " : "",
                        with_token ? c->who->token : "", with_token ? "\r\n" : "");
    c->begun_us = now_us();
    conn_send(c, request, (size_t)size);
}

/* Answers */

static void sender_done(conn *c, int status, const char *body, size_t size)
{
    uint64_t now = now_us();
    message *sent = &run.messages[c->number];
    if (status != 200) {
        error_note(body, size);
        sent->counted = false;
    } else {
        sent->acknowledged = true;
        /* The rate counts answers within the time; the latencies include those that came after it, or the
         * slowest would be left out. */
        run.done += now >= run.counting_us && now <= run.end_us;
        if (sent->counted) sample_add(&run.send, now - c->begun_us);
    }
    if (plan.rate <= 0 && now < run.end_us) sender_start(c, now);
}

/* Sync tokens in the plan are escaped already; those the server gives are opaque and escaped here. */
static void since_keep(conn *c, const char *token, size_t size)
{
    free(c->since);
    c->since = malloc(size * 3 + 1);
    if (!c->since) die("out of memory");
    char *to = c->since;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)token[i];
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z')
                     || (byte >= '0' && byte <= '9') || strchr("-._~", byte);
        to += snprintf(to, 4, plain ? "%c" : "%%%02X", byte);
    }
    *to = 0;
}

static void reader_done(conn *c, int status, const char *body, size_t size)
{
    uint64_t now = now_us();
    const char *end = body + size, *at = body;
    const char key[] = "\"next_batch\":";
    const char *token = memmem(body, size, key, sizeof key - 1);
    token = token ? memchr(token + sizeof key - 1, '"', (size_t)(end - token) - (sizeof key - 1)) : NULL;
    const char *token_end = token ? memchr(token + 1, '"', (size_t)(end - token - 1)) : NULL;
    if (status != 200 || !token_end) {
        error_note(body, size);
        if (run.errors > 1000) die("too many errors: %s", run.first_error);
        reader_start(c, 30000);
        return;
    }
    since_keep(c, token + 1, (size_t)(token_end - token - 1));
    while ((at = memmem(at, (size_t)(end - at), MARK, sizeof MARK - 1))) {
        at += sizeof MARK - 1;
        unsigned long number = strtoul(at, NULL, 10);
        if (number >= run.message_count) {
            run.unknown++;
            continue;
        }
        message *got = &run.messages[number];
        if (got->deliveries++) run.repeated++;
        else if (got->counted) {
            run.delivered++;
            sample_add(&run.deliver, now - got->begun_us);
        }
    }
    reader_start(c, 30000);
}

static void conn_done(conn *c, int status, const char *body, size_t size)
{
    c->busy = false;
    if (c->closes) conn_reopen(c);
    if (c->role == ROLE_SENDER) sender_done(c, status, body, size);
    else if (c->role == ROLE_READER) reader_done(c, status, body, size);
    else {
        uint64_t now = now_us();
        if (status != 200) error_note(body, size);
        else if (now >= run.counting_us && now <= run.end_us) {
            run.done++;
            sample_add(&run.send, now - c->begun_us);
        }
        if (now < run.end_us) getter_start(c);
    }
}

static bool head_read(conn *c)
{
    char *stop = memmem(c->in, c->in_size, "\r\n\r\n", 4);
    if (!stop) return false;
    c->head_size = (size_t)(stop - c->in) + 4;
    c->body_size = 0;
    c->chunked = c->closes = false;
    *stop = 0; /* strstr-like calls end here; the blank line is not needed again */
    char *length = strcasestr(c->in, "\ncontent-length:");
    if (length) c->body_size = strtoul(length + 16, NULL, 10);
    char *encoding = strcasestr(c->in, "\ntransfer-encoding:");
    c->chunked = encoding && strcasestr(encoding, "chunked");
    c->closes = strcasestr(c->in, "\nconnection: close") != NULL;
    return true;
}

/* Joins the chunks of a complete body in place; false while it is incomplete. */
static bool chunks_join(char *body, size_t size, size_t *joined)
{
    if (size < 5 || memcmp(body + size - 5, "0\r\n\r\n", 5)) return false;
    char *at = body, *end = body + size, *to = body;
    for (;;) {
        char *stop;
        size_t chunk = strtoul(at, &stop, 16);
        if (!chunk) break;
        stop = memchr(stop, '\n', (size_t)(end - stop));
        if (!stop || stop + 1 + chunk + 2 > end) return false;
        memmove(to, stop + 1, chunk);
        to += chunk;
        at = stop + 1 + chunk + 2;
    }
    *joined = (size_t)(to - body);
    return true;
}

static void conn_readable(conn *c)
{
    c->in = grown(c->in, &c->in_room, c->in_size + READ_SIZE + 1, 1);
    ssize_t got = recv(c->fd, c->in + c->in_size, READ_SIZE, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        bool asked = c->busy;
        if (asked) error_note("connection lost", 15);
        conn_reopen(c);
        if (asked && c->role == ROLE_READER) reader_start(c, 30000);
        else if (asked && plan.rate <= 0 && now_us() < run.end_us) {
            if (c->role == ROLE_SENDER) sender_start(c, now_us());
            else getter_start(c);
        }
        return;
    }
    c->in_size += (size_t)got;
    c->in[c->in_size] = 0;
    if (!c->head_size && !head_read(c)) return;
    size_t size = c->in_size - c->head_size;
    if (c->chunked ? !chunks_join(c->in + c->head_size, size, &size) : size < c->body_size) return;
    conn_done(c, (int)strtol(c->in + 9, NULL, 10), c->in + c->head_size, size);
}

/* Phases */

static void limits_raise(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static conn *conns_open(conn_role role, size_t count, const accounts *from)
{
    conn *all = calloc(count ? count : 1, sizeof *all);
    if (!all) die("out of memory");
    for (size_t i = 0; i < count; i++) {
        all[i].role = role;
        all[i].who = from && from->count ? &from->items[i % from->count] : NULL;
        if (role == ROLE_READER) all[i].since = strdup(all[i].who->place);
        all[i].index = i;
        conn_open(&all[i]);
    }
    return all;
}

static void events_handle(int wait_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(run.epoll, events, EVENTS_MAX, wait_ms);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr) conn_readable(events[i].data.ptr);
        else {
            uint64_t expirations;
            if (read(run.timer, &expirations, sizeof expirations) < 0) continue;
        }
    }
}

/* Milliseconds are too coarse to wait for the next message that is due, hence a timer. */
static void timer_set(uint64_t at_us)
{
    struct itimerspec when = {.it_value = {(time_t)(at_us / 1000000), (long)(at_us % 1000000) * 1000}};
    timerfd_settime(run.timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void schedule_follow(conn *senders, size_t count)
{
    size_t begun = 0, next = 0;
    double gap_us = 1e6 / plan.rate;
    for (uint64_t now = now_us(); now < run.end_us; now = now_us()) {
        uint64_t due = run.start_us + (uint64_t)((double)begun * gap_us);
        size_t tried = 0;
        while (due <= now && tried < count) {
            conn *c = &senders[next++ % count];
            tried++;
            if (c->busy) continue;
            sender_start(c, due);
            tried = 0;
            due = run.start_us + (uint64_t)((double)++begun * gap_us);
        }
        size_t late = due <= now ? (size_t)((double)(now - due) / gap_us) : 0;
        if (late > run.late_max) run.late_max = late;
        timer_set(due > now ? due : now + 1000);
        events_handle(100);
    }
}

static bool all_delivered(void)
{
    for (size_t i = 0; i < run.message_count; i++)
        if (run.messages[i].acknowledged && !run.messages[i].deliveries) return false;
    return true;
}

static bool any_busy(const conn *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].busy) return true;
    return false;
}

static size_t missing_count(void)
{
    size_t missing = 0;
    for (size_t i = 0; i < run.message_count; i++)
        missing += run.messages[i].counted && run.messages[i].acknowledged && !run.messages[i].deliveries;
    return missing;
}

static void clock_start(void)
{
    run.start_us = now_us();
    run.counting_us = run.start_us + (uint64_t)(plan.warmup_s * 1e6);
    run.end_us = run.counting_us + (uint64_t)(plan.seconds * 1e6);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void samples_print(const char *name, samples *all)
{
    static const struct {
        const char *name;
        double part;
    } wanted[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}, {"max", 1}};
    if (all->count) qsort(all->items, all->count, sizeof *all->items, by_size);
    printf(", \"%s\": {\"count\": %zu", name, all->count);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && all->count; i++) {
        size_t at = (size_t)(wanted[i].part * (double)all->count);
        printf(", \"%s\": %.3f", wanted[i].name, all->items[at < all->count ? at : all->count - 1] / 1000.0);
    }
    putchar('}');
}

static void result_print(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
                   + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    for (char *c = run.first_error; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '\'';
    printf("{\"mode\": \"%s\", \"seconds\": %.3f, \"done\": %zu, \"per_second\": %.2f, \"all_sent\": %zu",
           plan.mode, plan.seconds, run.done, (double)run.done / plan.seconds, run.message_count);
    samples_print("request_ms", &run.send);
    samples_print("deliver_ms", &run.deliver);
    printf(", \"delivered\": %zu, \"missing\": %zu, \"repeated\": %zu, \"unknown\": %zu, \"late_max\": %zu",
           run.delivered, plan.readers.count ? missing_count() : 0, run.repeated, run.unknown, run.late_max);
    printf(", \"errors\": %zu, \"reconnects\": %zu, \"first_error\": \"%s\", \"cpu_s\": %.3f}\n", run.errors,
           run.reconnects, run.first_error, cpu_s);
}

static void send_run(void)
{
    size_t count = plan.connections ? plan.connections : plan.senders.count;
    if (!plan.senders.count) die("the plan has no senders");
    conn *senders = conns_open(ROLE_SENDER, count, &plan.senders);
    conn *readers = conns_open(ROLE_READER, plan.readers.count, &plan.readers);
    for (size_t i = 0; i < plan.readers.count; i++) reader_start(&readers[i], 30000);
    clock_start();
    if (plan.rate > 0) schedule_follow(senders, count);
    else {
        for (size_t i = 0; i < count; i++) sender_start(&senders[i], now_us());
        while (now_us() < run.end_us) events_handle(10);
    }
    uint64_t limit_us = now_us() + DRAIN_US;
    while (now_us() < limit_us && (any_busy(senders, count) || (plan.readers.count && !all_delivered())))
        events_handle(10);
    result_print();
}

static void get_run(void)
{
    size_t count = plan.connections ? plan.connections : 1;
    conn *getters = conns_open(ROLE_GETTER, count, &plan.senders);
    clock_start();
    for (size_t i = 0; i < count; i++) getter_start(&getters[i]);
    while (now_us() < run.end_us) events_handle(10);
    result_print();
}

static void idle_run(void)
{
    if (!plan.readers.count) die("the plan has no readers");
    conn *polls = conns_open(ROLE_READER, plan.connections, &plan.readers);
    for (size_t i = 0; i < plan.connections; i++) {
        reader_start(&polls[i], (int)(plan.seconds * 1000));
        if (i % 64 == 0) events_handle(0);
    }
    printf("{\"held\": %zu}\n", plan.connections);
    fflush(stdout);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    char byte;
    for (uint64_t limit_us = now_us() + (uint64_t)(plan.seconds * 1e6); now_us() < limit_us;) {
        if (read(STDIN_FILENO, &byte, 1) == 0) break;
        events_handle(100);
    }
    clock_start();
    result_print();
}

/* Start */

static void account_add(accounts *to, const char *token, const char *place)
{
    static size_t rooms[2];
    size_t *room = &rooms[to == &plan.readers];
    to->items = grown(to->items, room, to->count + 1, sizeof *to->items);
    to->items[to->count++] = (account){strdup(token), strdup(place)};
}

static void plan_read(const char *path)
{
    char line[LINE_MAX_SIZE], word[3][LINE_MAX_SIZE];
    FILE *file = fopen(path, "r");
    if (!file) die("%s: %s", path, strerror(errno));
    plan.filter = strdup("%7B%7D");
    while (fgets(line, sizeof line, file)) {
        int words = sscanf(line, "%8191s %8191s %8191s", word[0], word[1], word[2]);
        if (words <= 0 || *word[0] == '#') continue;
        if (words == 3 && !strcmp(word[0], "server") && plan.server_count < SERVERS_MAX) {
            struct sockaddr_in *server = &plan.servers[plan.server_count++];
            *server = (struct sockaddr_in){.sin_family = AF_INET,
                                           .sin_port = htons((uint16_t)strtoul(word[2], NULL, 10))};
            if (inet_pton(AF_INET, word[1], &server->sin_addr) != 1) die("%s is no IPv4 address", word[1]);
        } else if (words == 3 && !strcmp(word[0], "sender")) account_add(&plan.senders, word[1], word[2]);
        else if (words == 3 && !strcmp(word[0], "reader")) account_add(&plan.readers, word[1], word[2]);
        else if (words == 2 && !strcmp(word[0], "filter")) {
            free(plan.filter);
            plan.filter = strdup(word[1]);
        } else die("%s: cannot read the line: %s", path, line);
    }
    fclose(file);
    if (!plan.server_count) die("%s: no server line", path);
}

static void usage(void)
{
    die("usage: gr_load send|get|idle PLAN [--connections N] [--seconds S] [--warmup S] [--rate PER_SECOND]\n"
        "               [--padding BYTES] [--path PATH] [--spread yes]");
}

int main(int argc, char **argv)
{
    if (argc < 3) usage();
    plan.mode = argv[1];
    plan.seconds = 5;
    plan.padding = 60;
    plan.path = "/_matrix/client/versions";
    for (int i = 3; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        if (!strcmp(key, "--connections")) plan.connections = strtoul(value, NULL, 10);
        else if (!strcmp(key, "--seconds")) plan.seconds = strtod(value, NULL);
        else if (!strcmp(key, "--warmup")) plan.warmup_s = strtod(value, NULL);
        else if (!strcmp(key, "--rate")) plan.rate = strtod(value, NULL);
        else if (!strcmp(key, "--padding")) plan.padding = strtoul(value, NULL, 10);
        else if (!strcmp(key, "--path")) plan.path = value;
        else if (!strcmp(key, "--spread")) plan.spread = !strcmp(value, "yes");
        else usage();
    }
    if (argc % 2 == 0) usage();
    plan_read(argv[2]);
    limits_raise();
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, run.timer, &event);
    if (!strcmp(plan.mode, "send")) send_run();
    else if (!strcmp(plan.mode, "get")) get_run();
    else if (!strcmp(plan.mode, "idle")) idle_run();
    else usage();
    return 0;
}
