/*
 * Load over HTTP/1.1 with kept-alive connections, from one thread that costs the machine little.
 *
 *   load PORT REQUESTS closed CONNECTIONS SECONDS [ANSWERS]   each connection asks again as soon as it is answered
 *   load PORT REQUESTS open RATE SECONDS SEED [ANSWERS]       requests come by a Poisson process of RATE per second
 *   load PORT REQUESTS arrivals RATE SECONDS SEED             only prints when these would come, in seconds
 *
 * REQUESTS holds whole requests, each after its length as a 32-bit number; they are taken in turn. In the open loop
 * every arrival's time is drawn before the first is sent, and latency counts from that time, whether or not the
 * server was ready to take the request: nothing that it delays drops out of the count. A request without a free
 * connection opens one more.
 *
 * After SECONDS nothing new is sent, and what is out has DRAIN seconds more to be answered. One line of JSON says how
 * it went. Latencies are of the good answers (status 200), in seconds; OBJECTIVE, which some of them meet, is given
 * when this is compiled. ANSWERS, a file, takes the good ones: the number of the request and the answer's length, two
 * 32-bit numbers, then its body.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 8192, DRAIN = 30, MAX_STATUS = 600 };

typedef struct {
    const char *bytes;
    uint32_t length;
} Request;

typedef struct {
    int fd;
    const Request *request; /* what it asks now; NULL while it is idle */
    uint32_t sent;
    double due; /* when the request was meant to be sent */
    char *in;
    size_t length, room;
    bool full; /* the socket takes no more for now */
} Connection;

typedef struct {
    double *values;
    size_t count, room;
} Series;

static Request *requests;
static uint32_t request_count, next_request;
static Connection connections[MAX_CONNECTIONS];
static int opened, idle[MAX_CONNECTIONS], idle_count;
static struct sockaddr_in address;
static int epoll_fd, timer_fd;
static double started, stops;
static bool closed_loop;
static Series latencies, lateness;
static long sent, outstanding, in_time, within_objective, statuses[MAX_STATUS], broken, unanswered, no_connection;
static FILE *answers;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *grown(void *block, size_t bytes) {
    if (!(block = realloc(block, bytes))) fail("memory");
    return block;
}

static void append(Series *series, double value) {
    if (series->count == series->room) {
        series->room = series->room ? 2 * series->room : 4096;
        series->values = grown(series->values, series->room * sizeof(double));
    }
    series->values[series->count++] = value;
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    uint32_t length;
    if (!file) fail(path);
    while (fread(&length, sizeof length, 1, file) == 1) {
        char *bytes = grown(NULL, length);
        if (fread(bytes, 1, length, file) != length) fail("a request is cut short");
        requests = grown(requests, (request_count + 1) * sizeof *requests);
        requests[request_count++] = (Request){bytes, length};
    }
    fclose(file);
    if (!request_count) fail("no requests");
}

static Connection *open_connection(void) {
    int on = 1, slot = -1;
    for (int i = 0; i < opened && slot < 0; i++)
        if (connections[i].fd < 0) slot = i;
    if (slot < 0 && opened == MAX_CONNECTIONS) return NULL;
    if (slot < 0) slot = opened++;
    Connection *c = &connections[slot];
    c->length = 0;
    c->request = NULL;
    c->full = false;
    /* On loopback a connection stands at once, or not at all: it does not wait for the server's accept. */
    if ((c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0) return NULL;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
        close(c->fd);
        c->fd = -1;
        return NULL;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll");
    return c;
}

static void close_connection(Connection *c) {
    close(c->fd);
    c->fd = -1;
    for (int i = 0; i < idle_count; i++)
        if (&connections[idle[i]] == c) idle[i--] = idle[--idle_count];
}

/* Sends what the socket takes; the rest follows when it has room. False if the connection broke. */
static bool push(Connection *c) {
    while (c->sent < c->request->length) {
        ssize_t n = send(c->fd, c->request->bytes + c->sent, c->request->length - c->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) return false;
        c->sent += n;
    }
    bool full = c->sent < c->request->length;
    if (full != c->full) {
        struct epoll_event event = {.events = full ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
        c->full = full;
    }
    return true;
}

static void ask(double due) {
    Connection *c = idle_count ? &connections[idle[--idle_count]] : open_connection();
    sent++;
    next_request++;
    if (!c) {
        no_connection++;
        return;
    }
    c->request = &requests[(next_request - 1) % request_count];
    c->due = due;
    c->sent = 0;
    outstanding++;
    append(&lateness, now() - due);
    if (!push(c)) {
        broken++;
        outstanding--;
        close_connection(c);
    }
}

/* The bytes of a chunked body once it is whole, put together in place; -1 until then. */
static long join_chunks(char *body, const char *end) {
    char *from = body, *to = body;
    for (;;) {
        char *line = memmem(from, end - from, "\r\n", 2);
        if (!line) return -1;
        long size = strtol(from, NULL, 16);
        if (end - line < size + 4) return -1;
        memmove(to, line + 2, size);
        if (!size) return to - body;
        to += size;
        from = line + 2 + size + 2;
    }
}

/* Whether the chunked body is whole; looks without changing it. */
static bool chunks_are_whole(const char *from, const char *end) {
    for (;;) {
        const char *line = memmem(from, end - from, "\r\n", 2);
        if (!line) return false;
        long size = strtol(from, NULL, 16);
        if (end - line < size + 4) return false;
        if (!size) return true;
        from = line + 2 + size + 2;
    }
}

/* What a header says, or NULL. */
static const char *header(const char *head, const char *name) {
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, strlen(name))) return line + 2 + strlen(name);
    return NULL;
}

static void keep(const Connection *c, const char *body, uint32_t length) {
    uint32_t number = c->request - requests;
    fwrite(&number, sizeof number, 1, answers);
    fwrite(&length, sizeof length, 1, answers);
    fwrite(body, 1, length, answers);
}

static void finish(Connection *c, int status, const char *body, long length, bool stays) {
    double end = now(), took = end - c->due;
    outstanding--;
    if (status >= 0 && status < MAX_STATUS) statuses[status]++;
    if (status == 200) {
        if (answers) keep(c, body, length);
        append(&latencies, took);
        in_time += end <= stops;
        within_objective += took <= OBJECTIVE;
    }
    c->request = NULL;
    c->length = 0;
    if (stays)
        idle[idle_count++] = c - connections;
    else
        close_connection(c);
    if (closed_loop && end < stops) ask(now());
}

static void broke(Connection *c) {
    bool asked = c->request != NULL;
    close_connection(c);
    if (!asked) return; /* the server closed an idle connection, as it may */
    broken++;
    outstanding--;
    if (closed_loop && now() < stops) ask(now());
}

static void receive(Connection *c) {
    if (c->room - c->length < 65536) {
        c->room = c->room ? 2 * c->room : 131072;
        c->in = grown(c->in, c->room);
    }
    ssize_t n = recv(c->fd, c->in + c->length, c->room - c->length - 1, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || !c->request) {
        broke(c);
        return;
    }
    c->length += n;
    char *end = c->in + c->length, *body = memmem(c->in, c->length, "\r\n\r\n", 4);
    if (!body) return;
    *body = 0; /* the head is a string now */
    body += 4;
    const char *length_is = header(c->in, "content-length:");
    const char *coding = header(c->in, "transfer-encoding:");
    const char *connection = header(c->in, "connection:");
    long length = length_is ? atol(length_is) : 0;
    if (coding && strcasestr(coding, "chunked"))
        length = chunks_are_whole(body, end) ? join_chunks(body, end) : -1;
    else if (end - body < length)
        length = -1;
    if (length < 0) {
        body[-4] = '\r';
        return;
    }
    int status = c->length > 12 ? atoi(c->in + 9) : 0;
    finish(c, status, body, length, !(connection && !strncasecmp(connection + strspn(connection, " "), "close", 5)));
}

static double *draw_arrivals(double rate, double seconds, long seed, long *count) {
    Series due = {0};
    srand48(seed);
    for (double t = 0; (t -= log(1 - drand48()) / rate) < seconds;) append(&due, t);
    *count = due.count;
    return due.values;
}

static void wake_at(double when) {
    static double set;
    if (when == set) return;
    set = when;
    struct itimerspec at = {.it_value = {(time_t)when, (long)((when - (time_t)when) * 1e9)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void run(const double *due, long count) {
    struct epoll_event events[256];
    long asked = 0;
    while (asked < count || outstanding || (closed_loop && now() < stops)) {
        for (; asked < count && started + due[asked] <= now(); asked++) ask(started + due[asked]);
        double wake = asked < count ? started + due[asked] : now() < stops ? stops : stops + DRAIN;
        if (now() >= stops + DRAIN) break;
        wake_at(wake);
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            uint64_t expirations;
            if (!c) {
                if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN) fail("timer");
            } else if (c->fd >= 0) {
                if ((events[i].events & EPOLLOUT) && c->request && !push(c))
                    broke(c);
                else if (events[i].events & ~EPOLLOUT)
                    receive(c);
            }
        }
    }
    unanswered = outstanding;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The least value that no less than this share of the series does not pass; 0 of an empty series. */
static double quantile(const Series *series, double share) {
    if (!series->count) return 0;
    size_t place = ceil(share * series->count);
    return series->values[place ? place - 1 : 0];
}

static void print_quantiles(const char *name, Series *series) {
    qsort(series->values, series->count, sizeof(double), ascending);
    double sum = 0;
    for (size_t i = 0; i < series->count; i++) sum += series->values[i];
    printf("\"%s\": {\"mean\": %.6f, \"p50\": %.6f, \"p95\": %.6f, \"p99\": %.6f, \"max\": %.6f}", name,
           series->count ? sum / series->count : 0, quantile(series, 0.5), quantile(series, 0.95),
           quantile(series, 0.99), quantile(series, 1));
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: load PORT REQUESTS closed CONNECTIONS SECONDS [ANSWERS]\n"
                        "       load PORT REQUESTS open|arrivals RATE SECONDS SEED [ANSWERS]\n");
        return 2;
    }
    closed_loop = !strcmp(argv[3], "closed");
    double amount = atof(argv[4]), seconds = atof(argv[5]);
    int rest = closed_loop ? 6 : 7;
    if (argc > rest && !(answers = fopen(argv[rest], "wb"))) fail(argv[rest]);
    read_requests(argv[2]);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    epoll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);

    long count = 0;
    double *due = closed_loop ? NULL : draw_arrivals(amount, seconds, argc > 6 ? atol(argv[6]) : 1, &count);
    if (!strcmp(argv[3], "arrivals")) {
        for (long i = 0; i < count; i++) printf("%.6f\n", due[i]);
        return 0;
    }
    started = now();
    stops = started + seconds;
    for (int i = 0; closed_loop && i < (int)amount; i++) ask(now());
    run(due, count);

    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    printf("{\"seconds\": %.3f, \"sent\": %ld, \"ok\": %zu, \"ok_in_time\": %ld, \"within_objective\": %ld, ", seconds,
           sent, latencies.count, in_time, within_objective);
    printf("\"broken\": %ld, \"unanswered\": %ld, \"no_connection\": %ld, \"statuses\": {", broken, unanswered,
           no_connection);
    for (int status = 0, comma = 0; status < MAX_STATUS; status++)
        if (statuses[status]) printf("%s\"%d\": %ld", comma++ ? ", " : "", status, statuses[status]);
    printf("}, ");
    print_quantiles("latency", &latencies);
    printf(", ");
    print_quantiles("lateness", &lateness);
    printf(", \"cpu_seconds\": %.3f, \"elapsed\": %.3f}\n", cpu, now() - started);
    return 0;
}
