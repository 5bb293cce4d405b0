//go:build !linux

package pebble

import "errors"

func punch(uintptr, int64) error { return errors.ErrUnsupported }
