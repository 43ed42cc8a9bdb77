//go:build !luofake

package main

import (
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/loader"
)

// kernel and nextKernel are this machine's.
func kernel() *luo.Kernel { return luo.New() }

func nextKernel() coordinator.Loader { return loader.Loader{Program: loader.Program} }
