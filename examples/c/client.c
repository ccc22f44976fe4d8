/* A robot on the server's machine, over its local lane (docs/reference/protocol.md). It needs libc alone.

     cc -O2 -o client client.c
     ./client /tmp/odeploy.ipc multigoal-2d 100 500 x,y vx,vy

   Arguments: the path of `ipc://PATH`, task, rate [Hz], ticks, names of the observation, names of the action. It
   observes zeros and prints each action, or "hold". Replace `observe` and `apply` by your robot's. */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { HELLO = 1, READY = 2, REFUSED = 3, OBSERVATION = 4, ACTION = 5, ERROR = 6, BYE = 7 };
enum { FRAME = 65536, NAMES = 15, UNKNOWN_SESSION = 1 };

typedef struct { uint8_t bytes[FRAME]; size_t size; } Frame;
typedef struct { const uint8_t *at, *end; } Reader;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* MessagePack, as far as these messages need it. */
static void put(Frame *f, const void *data, size_t size) { memcpy(f->bytes + f->size, data, size); f->size += size; }
static void put_head(Frame *f, uint8_t type, uint64_t value, int width) {
    put(f, &type, 1);
    while (width--) put(f, &(uint8_t){value >> (8 * width)}, 1);
}
static void put_array(Frame *f, int count) { put_head(f, 0x90 | count, 0, 0); }
static void put_int(Frame *f, uint64_t value) { put_head(f, 0xcf, value, 8); }
static void put_str(Frame *f, const char *text, size_t size) { put_head(f, 0xda, size, 2); put(f, text, size); }
static void put_names(Frame *f, const char *names, int count) {
    for (put_array(f, count); count--; names += strcspn(names, ",") + 1) put_str(f, names, strcspn(names, ","));
}
static uint64_t big_endian(Reader *r, int width) {
    uint64_t value = 0;
    if (r->end - r->at < width) { r->at = r->end; return 0; }
    while (width--) value = value << 8 | *r->at++;
    return value;
}
static uint64_t get_int(Reader *r) {
    uint8_t type = big_endian(r, 1);
    return type < 0x80 ? type : type >= 0xcc && type <= 0xcf ? big_endian(r, 1 << (type - 0xcc)) : 0;
}
static const uint8_t *get_bytes(Reader *r, size_t *size) { /* a str or a bin; NULL for anything else */
    uint8_t type = big_endian(r, 1);
    *size = type >> 5 == 5 ? type & 31u : type >= 0xd9 && type <= 0xdb ? big_endian(r, 1 << (type - 0xd9))
          : type >= 0xc4 && type <= 0xc6 ? big_endian(r, 1 << (type - 0xc4)) : SIZE_MAX;
    if ((size_t)(r->end - r->at) < *size) return NULL;
    return r->at += *size, r->at - *size;
}

/* Connect without blocking; the other end must be this user's or root's. */
static int connect_lane(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    snprintf(address.sun_path, sizeof address.sun_path, "%s.lane", path);
    int lane = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), room = 8 * 2048 / 2;
    if (connect(lane, (void *)&address, sizeof address) == 0 &&
        getsockopt(lane, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer}) == 0 &&
        (peer.uid == geteuid() || peer.uid == 0)) {
        setsockopt(lane, SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* about eight frames */
        return lane;
    }
    close(lane);
    return -1;
}

static void observe(float *values, int count) { memset(values, 0, count * sizeof *values); }
static void apply(uint64_t tick, const float *action, int count) {
    for (printf("%llu:", (unsigned long long)tick); count--;) printf(" %.6g", *action++);
    puts("");
}
static int count_names(const char *names) { int n = 1; for (; *names; names++) n += *names == ','; return n; }

int main(int argc, char **argv) {
    if (argc != 7) return fprintf(stderr, "usage: client PATH TASK HZ TICKS NAMES NAMES\n"), 2;
    const char *path = argv[1], *task = argv[2], *sensed = argv[5], *driven = argv[6];
    double rate_hz = atof(argv[3]);
    uint64_t ticks = atoll(argv[4]), session = 0, bits;
    int observed = count_names(sensed), actions = count_names(driven), lane = -1, asked = 0;
    if (observed > NAMES || actions > NAMES || rate_hz <= 0) return fprintf(stderr, "at most %d names\n", NAMES), 2;
    static Frame hello, frame;
    char robot[32];
    float values[NAMES];
    put_array(&hello, 9), put_int(&hello, HELLO), put_int(&hello, 1);
    put_str(&hello, robot, snprintf(robot, sizeof robot, "c-%d", getpid())), put_str(&hello, task, strlen(task));
    memcpy(&bits, &rate_hz, 8), put_head(&hello, 0xcb, bits, 8), put_int(&hello, 0);
    put_names(&hello, sensed, observed), put_names(&hello, driven, actions), put_str(&hello, "request", 7);
    int64_t period_ns = 1e9 / rate_hz, start_ns = now_ns();
    for (uint64_t tick = 0; tick < ticks; tick++) {
        int64_t due_ns = start_ns + tick * period_ns, deadline_ns = due_ns + period_ns * 8 / 10;
        struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        if (now_ns() > deadline_ns) continue; /* missed: never repeated */
        if (lane < 0) lane = connect_lane(path), asked = 0, session = 0;
        observe(values, observed);
        int sent = 0, applied = 0;
        while (lane >= 0 && !applied) {
            if (session && !sent) { /* values are little-endian, as this machine is */
                frame.size = 0, sent = 1;
                put_array(&frame, 6), put_int(&frame, OBSERVATION), put_int(&frame, session), put_int(&frame, 0);
                put_int(&frame, tick), put_int(&frame, now_ns()), put_head(&frame, 0xc5, 4 * observed, 2);
                put(&frame, values, 4 * observed), send(lane, frame.bytes, frame.size, MSG_NOSIGNAL);
            } else if (!session && !asked) asked = send(lane, hello.bytes, hello.size, MSG_NOSIGNAL) > 0;
            int64_t left_ns = deadline_ns - now_ns();
            if (left_ns <= 0 || !ppoll(&(struct pollfd){lane, POLLIN, 0}, 1, &(struct timespec){0, left_ns}, NULL)) break;
            ssize_t size = recv(lane, frame.bytes, FRAME, 0);
            if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (size <= 0) { close(lane), lane = -1; break; } /* the next tick connects again */
            Reader r = {frame.bytes + 1, frame.bytes + size};
            uint64_t type = get_int(&r), fields[9];
            size_t length;
            const uint8_t *data;
            if (type == READY) get_int(&r), session = get_int(&r);
            else if (type == REFUSED && (data = get_bytes(&r, &length)))
                return fprintf(stderr, "refused: %.*s\n", (int)length, data), 1;
            else if (type == ERROR && get_int(&r) == tick && sent) {
                if (get_int(&r) != UNKNOWN_SESSION) break;
                session = 0, asked = 0, sent = 0;
            } else if (type == ACTION) {
                for (int i = 0; i < 9; i++) fields[i] = get_int(&r);
                data = get_bytes(&r, &length);
                if (fields[0] != session || fields[2] != tick || !data || length < 4u * actions) continue;
                float action[NAMES];
                memcpy(action, data, 4 * actions);
                apply(tick, action, actions), applied = 1;
            }
        }
        if (!applied) printf("%llu: hold\n", (unsigned long long)tick);
    }
    frame.size = 0, put_array(&frame, 2), put_int(&frame, BYE), put_int(&frame, session);
    if (lane >= 0) send(lane, frame.bytes, frame.size, MSG_NOSIGNAL), close(lane);
    return 0;
}
