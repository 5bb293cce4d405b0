// Package state holds the typed stores of stream processing tasks.
package state
