/* The clock of a process, moved by as many seconds as a file says: what DRILL_CLOCK names, looked at each second.
   Only the time of day is moved; the monotonic clock, by which waits are measured, goes on as it would on a real host. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static long offset_seconds;
static long looked_at = -1;

static void look(void)
{
    struct timespec now;
    const char *path;
    FILE *file;
    long seconds = 0;

    if (!real_clock_gettime)
        real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec == looked_at)
        return;
    looked_at = now.tv_sec;
    path = getenv("DRILL_CLOCK");
    file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1)
            seconds = 0;
        fclose(file);
    }
    offset_seconds = seconds;
}

int clock_gettime(clockid_t clock, struct timespec *value)
{
    int result;

    look();
    result = real_clock_gettime(clock, value);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        value->tv_sec += offset_seconds;
    return result;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    value->tv_sec = now.tv_sec;
    value->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *value)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (value)
        *value = now.tv_sec;
    return now.tv_sec;
}
