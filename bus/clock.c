/* clock.c - the time of day as a node takes it. See clock.h. */
#include "bus/clock.h"

enum { PACE = 8 };

uint64_t gr_clock_read(gr_clock *c, uint64_t steady_us, uint64_t wall_us)
{
    uint64_t passed = steady_us > c->steady_us ? steady_us - c->steady_us : 0;
    if (c->now_us == 0 || wall_us > c->now_us + passed + (uint64_t)GR_CLOCK_FOLLOW_MS * 1000) {
        *c = (gr_clock){.now_us = wall_us, .steady_us = steady_us};
        return c->now_us;
    }
    uint64_t now_us = c->now_us + passed;
    uint64_t may = (passed + c->debt_us) / PACE, off = wall_us > now_us ? wall_us - now_us : now_us - wall_us;
    c->debt_us = (passed + c->debt_us) % PACE;
    if (off < may) may = off;
    c->now_us = wall_us > now_us ? now_us + may : now_us - may;
    c->steady_us = steady_us;
    return c->now_us;
}

static uint64_t read_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t gr_clock_now_ms(gr_clock *c)
{
    return gr_clock_read(c, read_us(CLOCK_BOOTTIME), read_us(CLOCK_REALTIME)) / 1000;
}

uint64_t gr_clock_ms(clockid_t id) { return read_us(id) / 1000; }
