package workload

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A record is measured by when it was due: the sender counts as the receiver does, also where the rate does not divide
// a second.
func TestScheduleCountsWhatIsDue(t *testing.T) {
	for _, rate := range []int{1, 7, 999, 50_000, 3_000_000} {
		s := newSchedule(time.UnixMicro(1_700_000_000_000_123), Options{
			Rate: rate, Warmup: 1001 * time.Microsecond, Measure: 2 * time.Second,
		})
		for _, until := range []int64{s.started, s.from, s.from + 1, s.until} {
			n := s.records(until)
			require.GreaterOrEqual(t, s.due(n), until, "rate %d", rate)
			if n > 0 {
				require.Less(t, s.due(n-1), until, "rate %d", rate)
			}
		}
	}
}
