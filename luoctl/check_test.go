package main

import (
	"bytes"
	"testing"
)

func TestChecksAndEntriesAsPeopleReadThem(t *testing.T) {
	var b bytes.Buffer
	printChecks(&b, checkReport{
		Kernel: "/boot/vmlinuz-7.3.4", Checks: []checkResult{
			{"kernel-image", "ok", "Linux 7.3.4 for amd64, bzImage", ""},
			{"handover-format", "fail", "the running kernel writes luo-v5, and it reads luo-v6", "choose another kernel"},
			{"memory", "warn", "unknown", "loading tells"},
		},
	}, false)
	golden(t, "check", b.Bytes())
	b.Reset()
	if err := printEntries(&b, []entry{
		{ID: "a.conf", Title: "A system", Version: "7.3.4", Source: "/boot/loader/entries/a.conf", Default: true},
		{ID: "linux.efi", Title: "Another", Version: "7.2", Source: "/efi/EFI/Linux/linux.efi"},
		{Source: "/boot/loader/entries/bad.conf", Error: "it names no kernel (linux)"},
	}); err != nil {
		t.Fatal(err)
	}
	golden(t, "entries", b.Bytes())
	b.Reset()
	if err := printEntries(&b, nil); err != nil {
		t.Fatal(err)
	}
	golden(t, "entries-none", b.Bytes())
}
