/* faults.c: a library to preload (LD_PRELOAD) that lets calls of the system fail. FAULT_PATH is the beginning of the
 * absolute paths that count. FAULT="CALL NUMBER ERRNO" lets that call fail, counted from 1, and FAULT="CALL NUMBER
 * ERRNO on" it and all after it. At its end the process appends to the file FAULT_LOG a line "CALL COUNT" for each of
 * the calls below. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { CALL_write, CALL_fsync, CALL_rename, CALL_open, CALL_mkdir, CALL_read, N_CALLS };
static const char* const names[N_CALLS] = {"write", "fsync", "rename", "open", "mkdir", "read"};
static long counts[N_CALLS];

/* Whether this call is to fail; errno says how. */
static int fails(enum call call, const char* path) {
  const char* prefix = getenv("FAULT_PATH");
  if (prefix == NULL || path == NULL || strncmp(path, prefix, strlen(prefix)) != 0) return 0;
  ++counts[call];
  const char* fault = getenv("FAULT");
  char name[16], on[4] = "";
  long number = 0;
  int error = 0;
  if (fault == NULL || sscanf(fault, "%15s %ld %d %3s", name, &number, &error, on) < 3) return 0;
  if (strcmp(name, names[call]) != 0 || counts[call] < number || (counts[call] > number && on[0] == '\0')) return 0;
  errno = error;
  return 1;
}
static int fails_fd(enum call call, int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = '\0';
  return fails(call, path);
}
__attribute__((destructor)) static void report(void) {
  const char* log = getenv("FAULT_LOG");
  if (log == NULL) return;
  FILE* out = fopen(log, "a");
  if (out == NULL) return;
  for (int c = 0; c < N_CALLS; ++c) fprintf(out, "%s %ld\n", names[c], counts[c]);
  fclose(out);
}

#define NEXT(result, name, ...)       \
  static result (*next)(__VA_ARGS__); \
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void* data, size_t n) {
  NEXT(ssize_t, "write", int, const void*, size_t);
  return fails_fd(CALL_write, fd) ? -1 : next(fd, data, n);
}
ssize_t writev(int fd, const struct iovec* parts, int n) {
  NEXT(ssize_t, "writev", int, const struct iovec*, int);
  return fails_fd(CALL_write, fd) ? -1 : next(fd, parts, n);
}
ssize_t pwrite(int fd, const void* data, size_t n, off_t at) {
  NEXT(ssize_t, "pwrite", int, const void*, size_t, off_t);
  return fails_fd(CALL_write, fd) ? -1 : next(fd, data, n, at);
}
ssize_t read(int fd, void* data, size_t n) {
  NEXT(ssize_t, "read", int, void*, size_t);
  return fails_fd(CALL_read, fd) ? -1 : next(fd, data, n);
}
ssize_t readv(int fd, const struct iovec* parts, int n) {
  NEXT(ssize_t, "readv", int, const struct iovec*, int);
  return fails_fd(CALL_read, fd) ? -1 : next(fd, parts, n);
}
ssize_t pread(int fd, void* data, size_t n, off_t at) {
  NEXT(ssize_t, "pread", int, void*, size_t, off_t);
  return fails_fd(CALL_read, fd) ? -1 : next(fd, data, n, at);
}
ssize_t pread64(int fd, void* data, size_t n, off64_t at) {
  NEXT(ssize_t, "pread64", int, void*, size_t, off64_t);
  return fails_fd(CALL_read, fd) ? -1 : next(fd, data, n, at);
}
int fsync(int fd) {
  NEXT(int, "fsync", int);
  return fails_fd(CALL_fsync, fd) ? -1 : next(fd);
}
int ftruncate(int fd, off_t n) {
  NEXT(int, "ftruncate", int, off_t);
  return fails_fd(CALL_write, fd) ? -1 : next(fd, n);
}
int rename(const char* from, const char* to) {
  NEXT(int, "rename", const char*, const char*);
  return fails(CALL_rename, from) ? -1 : next(from, to);
}
int mkdir(const char* path, mode_t mode) {
  NEXT(int, "mkdir", const char*, mode_t);
  return fails(CALL_mkdir, path) ? -1 : next(path, mode);
}
int open(const char* path, int flags, ...) {
  NEXT(int, "open", const char*, int, ...);
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return fails(CALL_open, path) ? -1 : next(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open(path, flags, mode);
}
FILE* fopen(const char* path, const char* mode) {
  NEXT(FILE*, "fopen", const char*, const char*);
  return fails(CALL_open, path) ? NULL : next(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  NEXT(FILE*, "fopen64", const char*, const char*);
  return fails(CALL_open, path) ? NULL : next(path, mode);
}
