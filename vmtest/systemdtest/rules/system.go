package rules

import (
	"fmt"
	"strings"
)

// Unit is a service or target, with the settings that rules are about. Other units are named without the prefix that each story gives
// its own, see [Story].
type Unit struct {
	// Name has no suffix for a service.
	Name     string
	StoreMax int
	Preserve string
	// Restart is Restart=always, after a time that doesn't come by itself.
	Restart bool

	Wants, Requires, BindsTo, PartOf, After []string

	// FailStart has ExecStartPre= fail. StopPost has ExecStopPost= note what PID 1 tells of the unit.
	FailStart, StopPost bool
	// Witness has the service note, when it is stopped, what PID 1 tells of that unit.
	Witness string
}

// FullName is the name with its suffix.
func FullName(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + ".service"
}

// Program is the storer's path, see vmtest/guest/storer.
const Program = "/usr/lib/luod-lab/storer"

// Text is the unit's file.
func (u Unit) Text() string {
	var b strings.Builder
	line := func(setting string, values ...string) {
		if len(values) > 0 && values[0] != "" {
			fmt.Fprintf(&b, "%s=%s\n", setting, strings.Join(values, " "))
		}
	}
	names := func(setting string, list []string) {
		for _, n := range list {
			line(setting, FullName(n))
		}
	}
	b.WriteString("[Unit]\nStartLimitIntervalSec=0\n")
	names("Wants", u.Wants)
	names("Requires", u.Requires)
	names("BindsTo", u.BindsTo)
	names("PartOf", u.PartOf)
	names("After", u.After)
	if strings.HasSuffix(u.Name, ".target") {
		return b.String()
	}
	b.WriteString("[Service]\nType=notify\nNotifyAccess=all\nRestartSec=1h\nExecStart=" + Program + " serve %n\n")
	line("FileDescriptorStoreMax", fmt.Sprint(u.StoreMax))
	line("FileDescriptorStorePreserve", u.Preserve)
	if u.Restart {
		line("Restart", "always")
	}
	if u.FailStart {
		line("ExecStartPre", "/bin/false")
	}
	if u.StopPost {
		line("ExecStopPost", Program+" note %n %n")
	}
	if u.Witness != "" {
		line("ExecStop", Program+" note %n "+FullName(u.Witness))
	}
	return b.String()
}

// File is one that a service stores.
type File struct {
	// Label is what the story calls it: a memfd that is made at its first use, or with Pair a socket whose other end the
	// service keeps.
	Label string
	// Reopen has it opened anew, for reading only; else it is a duplicate.
	Reopen bool
	Pair   bool
}

// Order is what a service is told to do.
type Order struct {
	// Push stores Files in one message. Poll leaves FDPOLL=0 out, and with Unnamed there is no FDNAME=.
	Push    string
	Unnamed bool
	Poll    bool
	Files   []File
	// Remove is a name.
	Remove string
	// HangUp closes the other end of a pair.
	HangUp string
	// Exit ends the service, at once or at its stop, with that code.
	Exit   bool
	Code   int
	AtStop bool
}

// Entry is a descriptor as PID 1 tells of it, or as a service is passed it.
type Entry struct {
	Name     string
	Inode    uint64
	ReadOnly bool
}

// Answer is a service's. Inodes are those of the files that it has made so far, by their labels.
type Answer struct {
	Inodes map[string]uint64
	Passed []Entry
	Error  string
}

// View is what PID 1 tells of a unit. Loaded says that PID 1 had it in memory before it was asked.
type View struct {
	Loaded       bool
	Active, Sub  string
	InvocationID string
	Store        []Entry
}

// System is a PID 1, real or not, that has had all of [Units] from the beginning. Names of units are full. All wait until what they ask for is done.
type System interface {
	// Version is systemd's.
	Version() int
	// Define writes a unit's file anew.
	Define(u Unit) error
	// Do does what systemctl does by that verb: start, stop, restart, reset-failed, daemon-reload, daemon-reexec. A unit that
	// fails to start is no error.
	Do(verb string, units ...string) error
	// Tell has a unit's service do something.
	Tell(unit string, o Order) (Answer, error)
	// Look asks PID 1.
	Look(unit string) (View, error)
	// Noted is the store that a StopPost or Witness of unit noted last.
	Noted(unit string) ([]Entry, error)
	// Shutdown stops everything. Only Noted works then. SoftReboot stops everything and goes on with what PID 1 has kept.
	Shutdown() error
	SoftReboot() error
}
