// Package kafkatest compares with Apache Kafka, and works together with it.
//
//	kafka, pom.xml          a script: Apache Kafka's broker and tools from its Maven artifacts
//	suite                   the link's tests against Apache Kafka's broker
//	bench                   workloads of Kafka Streams in turns with ours, on the same topics
//	clients                 other people's clients against the bundled broker
//	connect, franz-go       scripts that clients runs: Kafka Connect's worker, franz-go's own tests
//	external.py             a plugin by which aiokafka's own tests run against the bundled broker
//	record                  a proxy that writes down which requests clients make, as seeds of fuzz targets
//	changelog_test.go       stores restored from changelogs that Kafka Streams wrote, and the same bytes written
//	changelog_java_test.go  an application that one of the two begins and the other goes on with (build tag java)
package kafkatest
