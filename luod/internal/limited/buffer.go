// Package limited bounds what a program that luod runs may say.
package limited

import "errors"

// Buffer takes Left bytes and no more. It has no other method than Write, so that nobody
// copies past the limit.
type Buffer struct {
	Data []byte
	Left int
}

// ErrTooLong is of a Write past the limit.
var ErrTooLong = errors.New("it says too much")

func (b *Buffer) Write(p []byte) (int, error) {
	if len(p) > b.Left {
		return 0, ErrTooLong
	}
	b.Left -= len(p)
	b.Data = append(b.Data, p...)
	return len(p), nil
}
