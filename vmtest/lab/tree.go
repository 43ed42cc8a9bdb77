package lab

import (
	"context"
	"io"
)

// Tree returns a directory with suite's root filesystem as debootstrap makes it, the one that images are made from, or one
// with further packages. Whoever uses it must not write to it: lay an overlay over it.
func Tree(ctx context.Context, progress io.Writer, suite Suite, packages ...string) (string, error) {
	return base(ctx, progress, suite, packages)
}
