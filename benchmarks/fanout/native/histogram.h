// A log-linear histogram of durations: 64 steps per power of two, so a reading is within 1.6 %.
#ifndef FANOUT_HISTOGRAM_H
#define FANOUT_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 6
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    int64_t greatest; // nanoseconds, exact
};

static inline void histogram_add(struct histogram *histogram, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    int power = 63 - __builtin_clzll(value | 1);
    int shift = power > HISTOGRAM_STEP_BITS ? power - HISTOGRAM_STEP_BITS : 0;
    histogram->counts[((uint64_t)shift << HISTOGRAM_STEP_BITS) + (value >> shift)]++;
    histogram->total++;
    if (ns > histogram->greatest)
        histogram->greatest = ns;
}

// Returns the duration in nanoseconds that this fraction of the readings does not exceed; 0 when empty.
static inline int64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->total), seen = 0;
    for (uint64_t bucket = 0; bucket < HISTOGRAM_BUCKETS && histogram->total > 0; bucket++) {
        seen += histogram->counts[bucket];
        if (seen <= wanted && seen < histogram->total)
            continue;
        // Invert histogram_add: the bucket of shift s starts at s << STEP_BITS plus a value of
        // at least 1 << STEP_BITS, so s is one less than the bucket's own power when that is over 1.
        uint64_t group = bucket >> HISTOGRAM_STEP_BITS;
        uint64_t shift = group > 1 ? group - 1 : 0;
        return (int64_t)((bucket - (shift << HISTOGRAM_STEP_BITS)) << shift);
    }
    return 0;
}

#endif
