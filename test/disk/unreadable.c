/*
 * A disk that has lost a sector, for LD_PRELOAD: a program that reads the byte UNREADABLE_AT of the file with the inode
 * UNREADABLE_INODE gets EIO, again and again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t reader(int, void *, size_t, off64_t);

static int is_lost(int fd, size_t size, off64_t at) {
  const char *inode = getenv("UNREADABLE_INODE");
  const char *lost = getenv("UNREADABLE_AT");
  struct stat found;
  if (!inode || !lost || fstat(fd, &found) != 0) return 0;
  if (found.st_ino != strtoull(inode, NULL, 10)) return 0;
  off64_t byte = strtoll(lost, NULL, 10);
  return at <= byte && byte < at + (off64_t)size;
}

static ssize_t read_at(const char *name, int fd, void *to, size_t size, off64_t at) {
  if (is_lost(fd, size, at)) {
    errno = EIO;
    return -1;
  }
  return ((reader *)dlsym(RTLD_NEXT, name))(fd, to, size, at);
}

ssize_t pread(int fd, void *to, size_t size, off_t at) {
  return read_at("pread", fd, to, size, at);
}

ssize_t pread64(int fd, void *to, size_t size, off64_t at) {
  return read_at("pread64", fd, to, size, at);
}
