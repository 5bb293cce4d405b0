// Package kclient is what a worker sees of a broker: whole record batches in and out, transactions, a place in a
// group.
//
// # Two planes
//
// Control is always franz-go: connections, TLS and SASL, metadata, the consumer group with this project's balancer,
// coordinators, admin. The group's topics are paused from the first moment, so that the client joins, heartbeats
// and rebalances but never fetches. Against the bundled broker the same client runs on in-memory connections.
//
// Data is batches, and has two implementations behind one small seam (type transport):
//
//	remote   Fetch and Produce requests of our own, sent through the same client
//	local    the bundled broker's Produce and Fetch, called directly
//
// # Threads
//
// A Client belongs to one worker. Its methods may be called from any goroutine, but the calls that make up a
// transaction are one worker's. Behind it run one goroutine that sends produce requests, one per broker that
// fetches, and franz-go's own. Everything they hand over waits in a bounded place: a fetch that nobody takes stops
// the fetching, and Produce blocks at ProduceBytesMax.
//
// # Errors
//
// What a retry can remove is retried inside, with a pause that grows and a line in the log. What comes out needs a
// decision, and ClassOf tells which: abort and go on, drop everything and start over, or stop.
package kclient
