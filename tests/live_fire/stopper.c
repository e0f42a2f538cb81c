/* Kills the process that it is loaded into at a chosen line of a journal, with SIGKILL.
 *
 * STOP_AT=WHEN EVENT NTH: WHEN is `before` the line of the NTH such event is written, `torn` in the middle of it, or `after` it is
 * on disk and before anything else is done. Loaded with LD_PRELOAD, so that what is tested is the program as it is shipped. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int seen, is_reached;

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_journal(int fd) {
    static const char ending[] = ".journal.jsonl";
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < (ssize_t)sizeof ending) return 0;
    path[size] = 0;
    return strcmp(path + size - (sizeof ending - 1), ending) == 0;
}

/* Returns WHEN's first letter if this line is the one, else 0. */
static char reached(const char *line, size_t size) {
    char when[16], event[32], wanted[64];
    int nth;
    const char *at = getenv("STOP_AT");
    if (!at || sscanf(at, "%15s %31s %d", when, event, &nth) != 3) return 0;
    snprintf(wanted, sizeof wanted, "\"event\":{\"%s\":", event);
    if (!memmem(line, size, wanted, strlen(wanted))) return 0;
    return ++seen == nth ? when[0] : 0;
}

ssize_t write(int fd, const void *text, size_t size) {
    char when = size > 8 && *(const char *)text == '{' && is_journal(fd) ? reached(text, size) : 0;
    if (when == 'b') die();
    if (when == 't') {
        syscall(SYS_write, fd, text, size / 2);
        die();
    }
    is_reached |= when == 'a';
    return syscall(SYS_write, fd, text, size);
}

int fdatasync(int fd) {
    int result = (int)syscall(SYS_fdatasync, fd);
    if (is_reached) die();
    return result;
}
