// Package oracle is a test: it builds the topologies that scenarios describe with the public DSL, feeds them the same
// input as Apache Kafka Streams got, and compares everything that came out.
//
// A scenario is one JSON object per line: nodes (the calls of the DSL, in order), input, and what Kafka Streams made
// of it. The corpus lies compressed in testdata. Run
//
//	go test ./internal/oracle -run Corpus -args -corpus FILE -id SCENARIO -v
//
// for another file of the same format or for one scenario. The last line is "N equal, N differ, N listed".
package oracle
