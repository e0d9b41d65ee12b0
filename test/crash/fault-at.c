/*
 * Lets a fault strike node at a chosen step of what it does to a folder and to the network. With LD_PRELOAD
 * set to this library, FAULT_FOLDER to an absolute path and FAULT_STEP to N, it strikes at the N-th step;
 * with fewer steps than that the program runs as ever. Other programs of the environment (sh) are left
 * alone. A fault that strikes makes the file FAULT_STRUCK. FAULT says which:
 *
 *   KILL     the process dies by SIGKILL
 *   EIO      the call fails, once
 *   ENOSPC   what is written half, and then fails: this call and every later one that writes there
 *
 * A step is the moment before a call that changes a file in the folder; or, of a write there or to
 * standard output, the moment when half of the bytes are written. Of a network socket, for KILL only, it
 * is the moment before a connect and of a write as above. The moment after a call is not one of its own:
 * nothing changes until the next step.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *folder; /* null where nothing is to be done */
static long fault_at;
static int error; /* what a call fails with; 0 for SIGKILL */
static bool lasts;
static atomic_long steps;

__attribute__((constructor)) static void start(void) {
  const char *step = getenv("FAULT_STEP"), *fault = getenv("FAULT");
  if (step == NULL || fault == NULL || strcmp(program_invocation_short_name, "node") != 0) return;
  fault_at = atol(step);
  lasts = strcmp(fault, "ENOSPC") == 0;
  error = lasts ? ENOSPC : strcmp(fault, "EIO") == 0 ? EIO : 0;
  folder = getenv("FAULT_FOLDER");
}

static bool path_counts(const char *path) {
  return folder != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static bool is_network(int fd) {
  struct sockaddr_storage address;
  socklen_t size = sizeof address;
  int saved = errno;
  bool is = getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
            (address.ss_family == AF_INET || address.ss_family == AF_INET6);
  errno = saved;
  return is;
}

static bool file_counts(int fd) {
  char link[32], path[PATH_MAX];
  int saved = errno;
  ssize_t length;
  if (folder == NULL) return false;
  if (error == 0 && (fd == STDOUT_FILENO || is_network(fd))) return true;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  errno = saved;
  if (length < 0) return false;
  path[length] = '\0';
  return path_counts(path);
}

/* Whether the fault strikes now. */
static bool strikes(void) {
  long step = atomic_fetch_add(&steps, 1) + 1;
  return lasts ? step >= fault_at : step == fault_at;
}

/* The function that is covered by ours. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int strike(void) {
  int struck = NEXT(open)(getenv("FAULT_STRUCK"), O_CREAT | O_WRONLY, 0600);
  if (struck >= 0) close(struck);
  if (error == 0) kill(getpid(), SIGKILL);
  errno = error;
  return -1;
}

#define COVER(name, parameters, arguments, counts) \
  int name parameters {                            \
    if ((counts) && strikes()) return strike();    \
    return NEXT(name) arguments;                   \
  }

COVER(fsync, (int fd), (fd), file_counts(fd))
COVER(fdatasync, (int fd), (fd), file_counts(fd))
COVER(ftruncate, (int fd, off_t size), (fd, size), file_counts(fd))
COVER(ftruncate64, (int fd, off64_t size), (fd, size), file_counts(fd))
COVER(fchmod, (int fd, mode_t mode), (fd, mode), file_counts(fd))
COVER(fchown, (int fd, uid_t user, gid_t group), (fd, user, group), file_counts(fd))
COVER(unlink, (const char *path), (path), error != ENOSPC && path_counts(path))
COVER(rename, (const char *from, const char *to), (from, to), path_counts(to))

COVER(connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size),
      file_counts(fd))

/* EIO comes at once; SIGKILL and a full disk when half is written. */
#define COVER_WRITE(name, parameters, whole, half)        \
  ssize_t name parameters {                               \
    if (file_counts(fd) && strikes()) {                   \
      if (error != EIO && NEXT(name) half < 0) return -1; \
      return strike();                                    \
    }                                                     \
    return NEXT(name) whole;                              \
  }

COVER_WRITE(write, (int fd, const void *from, size_t size), (fd, from, size), (fd, from, size / 2))
COVER_WRITE(pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at),
            (fd, from, size / 2, at))
COVER_WRITE(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count),
            (fd, parts, count / 2))
COVER_WRITE(pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at),
            (fd, from, size / 2, at))

/* Opening a file that may have to be made. */
#define COVER_OPEN(name)                                                      \
  int name(const char *path, int flags, ...) {                                \
    mode_t mode = 0;                                                          \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                    \
      va_list rest;                                                           \
      va_start(rest, flags);                                                  \
      mode = va_arg(rest, mode_t);                                            \
      va_end(rest);                                                           \
    }                                                                         \
    if ((flags & O_CREAT) && path_counts(path) && strikes()) return strike(); \
    return NEXT(name)(path, flags, mode);                                     \
  }

COVER_OPEN(open)
COVER_OPEN(open64)
