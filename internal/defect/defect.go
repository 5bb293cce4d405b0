// Package defect names bugs that a build with the tag `defects` puts into the broker and the runtime, one at a time:
// the one that the environment variable THALWEG_DEFECT names. The history checker has to find each of the broker's
// (make history-defects), the simulation each of the runtime's (make sim-defects). In any other build the names are
// constants that are false, and the compiler removes the code behind them.
package defect
