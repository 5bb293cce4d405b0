// Package streamtest runs a topology in a test: the production task, in memory, on a clock that the test moves.
//
//	d := streamtest.New(t, topo, streamtest.Config{})
//	in, out := d.Input(Lines), d.Output(Counts)
//	in.Send("", "to be or not to be", 0)
//	require.Equal(t, map[string]int64{"to": 2, "be": 2, "or": 1, "not": 1}, streamtest.Latest(out))
//	d.Restart(streamtest.LoseState)          // comes back from the changelogs
//
// Each record that is sent is processed at once, with all that follows from it: what the topology writes to its
// repartition topics, and to topics that it also reads, is fed back until nothing is left. Every processed record is
// followed by a commit, unless [Config.CommitEvery] says otherwise. Operators for which the program sets no emit policy
// emit each update; [Config.EmitOnCommit] makes them emit with the commit, as in production.
//
// With one partition (the default) the whole topology runs as one task, which takes its inputs by the timestamps of
// their first records. With more there is a task per sub-topology and partition, as in production.
//
// # Stores
//
// [Driver.Get], [Rows], [Driver.Entries] and [Driver.Range] read key-value stores; [Driver.GetWindow],
// [Driver.Windows] and [Driver.WindowsOf] windows; [Driver.GetSession], [Driver.Sessions] and [Driver.SessionsOf]
// sessions; [Driver.GetAsOf] and [Driver.Versions] versioned stores; [Driver.Buffered] buffers. Values are copies.
//
// # Failures
//
// What goes wrong fails the test, except through the methods whose names begin with Try. Errors name the record of the
// input that was being processed. Records that fail follow [Config.Errors], the policy that runs in production;
// [Driver.AdvanceWallClock] brings the retries.
//
// [Golden] compares with a file. Outside of a test [Open] runs a topology without one.
package streamtest
