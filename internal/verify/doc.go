// Package verify checks the whole of Thalweg from outside, with processes that are killed.
//
//	wordcount           a script: the example's counts against an independent count, on several brokers
//	newcomer            a script: the README's commands and programs from a fresh clone with empty caches
//	readme              finds the README's blocks for the tests that run them
//	kill_test.go        kill -9 of the example and of the broker (build tag kill)
//	mixed_test.go       the same with sessions, an outer join and a foreign-key join, against the test driver
//	rebalance_test.go   processes that join and leave a running count (build tag kill)
//	history             finds anomalies in what clients have seen
//	history_*_test.go   records what clients see of a broker under faults, and what the checker finds when a defect is
//	                    seeded (build tags kill and defects)
//
// A process that is killed loses nothing that it has given to the operating system, so the tests that kill show that
// the recovery of broker, state and group is right. What a power cut does is shown by TestHistoryInMemory, and by the
// tests of the broker's log, on a file system that forgets.
package verify
