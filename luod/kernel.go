//go:build !luofake

package main

import (
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/loader"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
)

// kernel and nextKernel are this machine's.
func kernel() *luo.Kernel { return luo.New() }

func nextKernel() nextkernel.Loader { return loader.Loader{Program: loader.Program} }
