// Loaded before libc (LD_PRELOAD) into one process under test: system calls on files below FAILING_DISK_AT fail while
// a file of the fault's name lies in FAILING_DISK_SWITCHES. What writes to a file does so by descriptor: those calls
// fail wherever the file is, and only a process whose other files are written otherwise should be given this.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int on(const char *fault) {
    char path[4096];
    const char *dir = getenv("FAILING_DISK_SWITCHES");
    if (dir == NULL || snprintf(path, sizeof path, "%s/%s", dir, fault) >= (int)sizeof path)
        return 0;
    int before = errno, there = access(path, F_OK) == 0;
    errno = before;
    return there;
}

static int below(const char *path) {
    const char *at = getenv("FAILING_DISK_AT");
    return at != NULL && strncmp(path, at, strlen(at)) == 0;
}

static int fails(int error) {
    errno = error;
    return -1;
}

int fsync(int file) {
    return on("sync") ? fails(EIO) : (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    return on("sync") ? fails(EIO) : (int)syscall(SYS_fdatasync, file);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    return on("read-only") ? fails(EROFS) : syscall(SYS_pwrite64, file, bytes, count, at);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    return pwrite64(file, bytes, count, at);
}

int ftruncate64(int file, off64_t size) {
    return on("read-only") ? fails(EROFS) : (int)syscall(SYS_ftruncate, file, size);
}

int ftruncate(int file, off_t size) {
    return ftruncate64(file, size);
}

int unlink(const char *path) {
    return below(path) && on("read-only") ? fails(EROFS) : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static int open_at(const char *path, int flags, mode_t mode) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) != 0;
    if (writes && below(path) && on("read-only"))
        return fails(EROFS);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define MODE_OF(flags, mode)                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return open_at(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags, mode)
    return open_at(path, flags, mode);
}
