// Package runtime runs a topology as an application: tasks on workers, against any broker that speaks Kafka's
// protocol.
//
//	app, err := runtime.New(topo, runtime.Config{ApplicationID: "wordcount", Broker: b})
//	…
//	err = app.Run(ctx) // until ctx ends, or until something fails that a retry can't repair
//
// # Workers and tasks
//
// A sub-topology and a partition make a task. Each process is one member of the application's consumer group. The group
// spreads the tasks over the processes with the same application ID, and a process spreads its own over its workers. A
// worker is one goroutine with one client and one transactional producer. Only its worker touches a task.
//
// # One commit
//
// What a task read, what it wrote and what its stores became are made durable together, for all tasks of a worker:
//
//	emit and drain the stores → produce what is left → send the offsets → end the transaction → tell the tasks
//
// The worker processes further records while that happens; see docs/adr/0017.
//
// Under exactly-once these are one transaction. If any step fails the transaction is aborted, the tasks go back to
// their last commit and read again from there. Under at-least-once outputs are acknowledged before changelogs are
// written, and the offsets are committed last. The local copy of a store gets only what was committed, together with
// its changelog's position, so that it is never ahead of the changelog and survives any crash.
//
// # Rebalance
//
// What is to be given away is committed first, and its state stays on disk. What arrives is restored from the
// changelog, from the position that the state on disk has, before its first record is processed.
//
// # Data in and out
//
// A [Client] makes topics, writes records to them and reads them, typed by the topology's own topics: what Kafka's
// producer, consumer and admin client do. It needs no application.
//
//	client, err := runtime.NewClient(cfg)
//	err = client.Put(ctx, lines, "key", "a line")
//	for r, err := range client.Read(ctx, counts, runtime.Earliest()) { … }
//
// # Errors
//
// Bad input follows [Config.Errors]; a record that is retried waits with its partition, not with its worker. Lost
// connections are retried, with a line in the log. A worker that lost its place in the group drops what it has not
// committed and joins again. Everything else ends [App.Run] with an error that says what to do.
package runtime
