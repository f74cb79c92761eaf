/* Loaded before the C library: each request to write to the disk what was written so far takes 100 ms longer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

#define DELAY_US 100000

int fsync(int file) {
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  usleep(DELAY_US);
  return next(file);
}

int fdatasync(int file) {
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  usleep(DELAY_US);
  return next(file);
}
