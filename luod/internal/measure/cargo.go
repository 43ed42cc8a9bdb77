package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// The cargo.
const (
	units   = 100
	perUnit = 100
)

// load makes it: memfds of a page each, all with something in it.
func load(seed byte) (packer.Cargo, error) {
	list := make([]packer.Unit, units)
	page := make([]byte, os.Getpagesize())
	for i := range list {
		list[i].Name = fmt.Sprintf("unit-%d.service", i)
		for j := range perUnit {
			fd, err := unix.MemfdCreate("measure", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
			if err != nil {
				return packer.Cargo{}, fmt.Errorf("make a memfd: %w", err)
			}
			f := os.NewFile(uintptr(fd), "measure")
			page[0], page[1], page[2] = seed, byte(i), byte(j)
			if _, err := f.WriteAt(page, 0); err != nil {
				return packer.Cargo{}, fmt.Errorf("fill a memfd: %w", err)
			}
			list[i].Files = append(list[i].Files, &vault.File{Unit: list[i].Name, Name: fmt.Sprintf("fd-%d", j), F: f})
		}
	}
	return packer.Cargo{Units: list, Manifest: manifest.Manifest{Generation: 1}, Now: time.Now}, nil
}

// files are all of them.
func files(cargo packer.Cargo) []*os.File {
	var all []*os.File
	for _, u := range cargo.Units {
		for _, f := range u.Files {
			all = append(all, f.F)
		}
	}
	return all
}
