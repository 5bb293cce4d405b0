// Package verify checks the whole of Thalweg from outside, with processes that are killed.
//
//	wordcount           a script: the example's counts against an independent count, on several brokers
//	newcomer            a script: the README's commands and programs from a fresh clone with empty caches
//	readme              finds the README's blocks for the tests that run them
//	kill_test.go        kill -9 of the example and of the broker (build tag kill)
//	mixed_test.go       the same with sessions, an outer join and a foreign-key join, against the test driver
//	rebalance_test.go   processes that join and leave a running count (build tag kill)
//
// A process that is killed loses nothing that it has given to the operating system, so these tests show that the
// recovery of broker, state and group is right; what a power cut does is shown by the tests of the broker's log on a
// file system that forgets.
package verify
