// Package archtest holds the laws of this repository as tests: which package may import which (layers_test.go), sizes,
// names and banned words (tidy_test.go), and the exported surface of the public packages (api_test.go).
//
// When one of them fails, the code is what changes. A law changes by an ADR.
package archtest
