// The kinds of run. Each prints one JSON object and returns the exit code.
#ifndef FANOUT_RUN_H
#define FANOUT_RUN_H

#include "options.h"

int run_fanout(const struct options *options); // fanout, publish, conflate
int run_idle(const struct options *options);
int run_http(const struct options *options);

#endif
