// Package compile counts what a user's program costs to compile: the functions and bytes of generic types in the
// archives of its packages.
//
// The compiler instantiates, in each package that mentions an instantiated type, every method that has no type
// parameters of its own, and all that those mention. The linker drops most of it again, so the binary shows neither the
// cost nor the cure; the archive does.
//
// testdata holds the programs that are counted. They are frozen: they follow changes of the API, and their size and
// shape stay.
//
//	wordcount   the word count of the examples, and a main that runs it
//	queries     twelve Nexmark queries: a program of the size that users write
//	newapp      a call of runtime.New and nothing else
package compile
