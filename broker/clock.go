package broker

import "thalweg/internal/clock"

// Clock is the broker's only source of time. The zero Config uses the machine's.
type Clock = clock.Clock
