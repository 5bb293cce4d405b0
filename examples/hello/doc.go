// Hello is the program that the README shows: it counts words, feeds itself one line and prints the counts. The test
// beside it is the README's, too.
//
//	go run ./examples/hello
package main
