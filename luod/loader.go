package main

import "github.com/liveupdate/luod/kexec"

// loader gives the coordinator kexec's functions.
type loader struct{}

func (loader) Load(t kexec.Target) error { return kexec.Load(t) }
func (loader) Unload() error             { return kexec.Unload() }
func (loader) Loaded() (bool, error)     { return kexec.Loaded() }
