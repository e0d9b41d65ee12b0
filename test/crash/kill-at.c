/*
 * Kills node with SIGKILL at a chosen step of what it does to a folder. With LD_PRELOAD set to this
 * library, KILL_AT_FOLDER to an absolute path and KILL_AT_STEP to N, the process dies at its N-th step;
 * with fewer steps than that it runs as ever. Other programs of the environment (sh) are left alone.
 *
 * A step is the moment before a call that changes a file in the folder; or, of a write there or to
 * standard output, the moment when half of the bytes are written. The moment after a call is not one of
 * its own: no file changes until the next step.
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
#include <sys/stat.h>
#include <unistd.h>

static const char *folder; /* null where nothing is to be done */
static long kill_at;
static atomic_long steps;

__attribute__((constructor)) static void start(void) {
  const char *step = getenv("KILL_AT_STEP");
  if (step == NULL || strcmp(program_invocation_short_name, "node") != 0) return;
  kill_at = atol(step);
  folder = getenv("KILL_AT_FOLDER");
}

static bool path_counts(const char *path) {
  return folder != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static bool file_counts(int fd) {
  char link[32], path[PATH_MAX];
  int saved = errno;
  ssize_t length;
  if (folder == NULL) return false;
  if (fd == STDOUT_FILENO) return true;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  errno = saved;
  if (length < 0) return false;
  path[length] = '\0';
  return path_counts(path);
}

/* Whether the step that the process takes now is the chosen one. */
static bool chosen_step(void) { return atomic_fetch_add(&steps, 1) + 1 == kill_at; }

static void die(void) { kill(getpid(), SIGKILL); }

/* The function that is covered by ours. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define COVER(name, parameters, arguments, counts) \
  int name parameters {                            \
    if ((counts) && chosen_step()) die();          \
    return NEXT(name) arguments;                   \
  }

COVER(fsync, (int fd), (fd), file_counts(fd))
COVER(fdatasync, (int fd), (fd), file_counts(fd))
COVER(ftruncate, (int fd, off_t size), (fd, size), file_counts(fd))
COVER(ftruncate64, (int fd, off64_t size), (fd, size), file_counts(fd))
COVER(fchmod, (int fd, mode_t mode), (fd, mode), file_counts(fd))
COVER(fchown, (int fd, uid_t user, gid_t group), (fd, user, group), file_counts(fd))
COVER(unlink, (const char *path), (path), path_counts(path))
COVER(rename, (const char *from, const char *to), (from, to), path_counts(to))

#define COVER_WRITE(name, parameters, whole, half) \
  ssize_t name parameters {                        \
    if (file_counts(fd) && chosen_step()) {        \
      if (NEXT(name) half >= 0) die();             \
    }                                              \
    return NEXT(name) whole;                       \
  }

COVER_WRITE(write, (int fd, const void *from, size_t size), (fd, from, size), (fd, from, size / 2))
COVER_WRITE(pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at),
            (fd, from, size / 2, at))
COVER_WRITE(pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at),
            (fd, from, size / 2, at))

/* Opening a file that may have to be made. */
#define COVER_OPEN(name)                                                \
  int name(const char *path, int flags, ...) {                          \
    mode_t mode = 0;                                                    \
    if (flags & (O_CREAT | __O_TMPFILE)) {                              \
      va_list rest;                                                     \
      va_start(rest, flags);                                            \
      mode = va_arg(rest, mode_t);                                      \
      va_end(rest);                                                     \
    }                                                                   \
    if ((flags & O_CREAT) && path_counts(path) && chosen_step()) die(); \
    return NEXT(name)(path, flags, mode);                               \
  }

COVER_OPEN(open)
COVER_OPEN(open64)
