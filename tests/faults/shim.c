/* Fails or kills at one call that changes a disk. Preloaded into the process under test.
 *
 * FAULT_UNDER   only calls on paths below this folder count
 * FAULT_AT      the number of the call, from 1; 0 counts only
 * FAULT_ACT     "before" or "after": SIGKILL there; "tear": half of a write, then SIGKILL;
 *               or an errno: that call and all later ones of the process fail with it, as on a
 *               disk that is full, broken or read-only
 * FAULT_COUNT   a file with the number of calls so far, 8 bytes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic long local_count;
static _Atomic long *count = &local_count;

enum verdict { PASS, FAIL, KILL_AFTER, TEAR };

__attribute__((constructor)) static void share_count(void) {
  const char *file = getenv("FAULT_COUNT");
  int fd = file ? open(file, O_RDWR) : -1;
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared != MAP_FAILED) count = shared;
  close(fd);
}

static int is_under(const char *path) {
  const char *under = getenv("FAULT_UNDER");
  char absolute[PATH_MAX * 2];
  if (!under) return 0;
  if (path[0] != '/') {
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(absolute, sizeof absolute, "%s/%s", here, path);
    path = absolute;
  }
  size_t length = strlen(under);
  return strncmp(path, under, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int is_fd_under(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return is_under(path);
}

/* Counts a call, and says what becomes of it. */
static enum verdict decide(void) {
  const char *at_text = getenv("FAULT_AT"), *act = getenv("FAULT_ACT");
  long at = at_text ? atol(at_text) : 0, now = atomic_fetch_add(count, 1) + 1;
  if (!at || !act || now < at) return PASS;
  int code = atoi(act);
  if (code) {
    errno = code;
    return FAIL;
  }
  if (now > at) return PASS;
  if (strcmp(act, "before") == 0) kill(getpid(), SIGKILL);
  return strcmp(act, "tear") == 0 ? TEAR : KILL_AFTER;
}

static void end_here(void) { kill(getpid(), SIGKILL); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CHANGE(type, name, parameters, counts, arguments)      \
  type name parameters {                                       \
    enum verdict verdict = (counts) ? decide() : PASS;         \
    if (verdict == FAIL) return -1;                            \
    type result = REAL(name) arguments;                        \
    if (verdict != PASS) end_here();                           \
    return result;                                             \
  }

#define WRITE(name, parameters, size, arguments)               \
  ssize_t name parameters {                                    \
    enum verdict verdict = is_fd_under(fd) ? decide() : PASS;  \
    if (verdict == FAIL) return -1;                            \
    if (verdict == TEAR) size = size / 2;                      \
    ssize_t result = REAL(name) arguments;                     \
    if (verdict != PASS) end_here();                           \
    return result;                                             \
  }

WRITE(write, (int fd, const void *bytes, size_t size), size, (fd, bytes, size))
WRITE(pwrite, (int fd, const void *bytes, size_t size, off_t at), size, (fd, bytes, size, at))
WRITE(pwrite64, (int fd, const void *bytes, size_t size, off64_t at), size, (fd, bytes, size, at))
WRITE(sendfile, (int fd, int in, off_t *at, size_t size), size, (fd, in, at, size))
WRITE(sendfile64, (int fd, int in, off64_t *at, size_t size), size, (fd, in, at, size))
WRITE(copy_file_range, (int in, off64_t *in_at, int fd, off64_t *at, size_t size, unsigned flags),
      size, (in, in_at, fd, at, size, flags))
WRITE(writev, (int fd, const struct iovec *parts, int size), size, (fd, parts, size))
CHANGE(int, ftruncate, (int fd, off_t size), is_fd_under(fd), (fd, size))
CHANGE(int, ftruncate64, (int fd, off64_t size), is_fd_under(fd), (fd, size))
CHANGE(int, fsync, (int fd), is_fd_under(fd), (fd))
CHANGE(int, rename, (const char *from, const char *to), is_under(to), (from, to))
CHANGE(int, renameat, (int from_at, const char *from, int to_at, const char *to), is_under(to),
       (from_at, from, to_at, to))
CHANGE(int, mkdir, (const char *path, mode_t mode), is_under(path), (path, mode))
CHANGE(int, mkdirat, (int at, const char *path, mode_t mode), is_under(path), (at, path, mode))

/* A new file needs room too. Kills at it say no more than those at the write that follows. */
static int opens_new(const char *path, int flags, mode_t mode, int (*real)(const char *, int, ...)) {
  const char *act = getenv("FAULT_ACT");
  if ((flags & O_CREAT) && act && atoi(act) && is_under(path) && decide() == FAIL) return -1;
  return real(path, flags, mode);
}

#define OPEN(name)                                             \
  int name(const char *path, int flags, ...) {                 \
    va_list rest;                                              \
    va_start(rest, flags);                                     \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;  \
    va_end(rest);                                              \
    return opens_new(path, flags, mode, REAL(name));           \
  }

OPEN(open)
OPEN(open64)
