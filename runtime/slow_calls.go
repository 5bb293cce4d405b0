package runtime

import "time"

// slowCommits is for how many commits calls count as slow after one that was.
const slowCommits = 32

// slowCalls notices that the program's functions have the worker for long. A transaction begins when the first of its
// records is sent, and the broker aborts it after TransactionTimeout. Where a call may take most of that, records are
// sent at commits only, so that no call falls into an open transaction. That lasts for some commits after the call,
// since another may follow: going back to the last commit repeats the calls since then.
type slowCalls struct {
	timeout time.Duration // of a transaction; 0: there are none
	pace    *pace
	commits int // for which calls still count as slow
}

// took notes how long the functions had the worker.
func (s *slowCalls) took(d time.Duration) {
	if s.timeout > 0 && s.pace.interval()+2*d > s.timeout {
		s.commits = slowCommits
	}
}

// holdBack tells that records wait in memory for the commit.
func (s *slowCalls) holdBack() bool { return s.commits > 0 }

// committed notes that there was a commit.
func (s *slowCalls) committed() { s.commits = max(s.commits-1, 0) }
