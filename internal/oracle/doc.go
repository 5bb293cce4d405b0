// Package oracle is a test: it builds the topologies that scenarios describe with the public DSL, feeds them the same
// input as Apache Kafka Streams got, and compares everything that came out.
//
// A scenario is one JSON object per line: nodes (the calls of the DSL, in order), input, and what Kafka Streams made
// of it. The corpus lies compressed in testdata. Run
//
//	go test ./internal/oracle -args -mode all -corpus FILE -id SCENARIO
//
// for all modes, for another file of the same format (compressed or not), or for some scenarios. The last line that the
// test prints is "N equal, N differ, N listed": each scenario once, by its worst mode. What is listed differs by a rule
// of rules_test.go, and is equal to its second expectation: what a Kafka Streams without the known defects makes of it.
// java has the program that makes scenarios and runs Kafka Streams, with and without these defects.
package oracle
