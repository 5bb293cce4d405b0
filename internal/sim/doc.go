// Package sim runs whole applications and their broker in one process, in virtual time, under faults that a seed
// chooses, and checks what came of it. It has tests only.
//
// A run is a bubble of testing/synctest: the network (network_test.go) and all disks are in memory, and time passes
// when nobody has anything to do. A seed fixes the program, the input and the faults (schedule_test.go). It does not
// fix the order in which goroutines run: a seed that fails may pass the next time, so a failure comes with a trace
// (trace_test.go), and REPEAT says how often it fails again.
//
// A process that is killed is cut from the network. Its goroutines go on for a while on its old disk, as a zombie,
// while its successor starts on what a crash leaves of that disk. A process that is paused hears and says nothing for
// longer than its session lasts, and then what it had sent arrives.
//
// A goroutine that waits for a sync.Mutex would stop virtual time, and some wait for the answer to a request with one
// held. The script build compiles the test so that time passes for them.
package sim
