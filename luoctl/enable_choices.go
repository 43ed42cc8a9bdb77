package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// participation is what is to be written: what enable's flags say.
type participation struct {
	preserve, timeout, onFailure, verify         string
	after, before, memfds, directories, recreate []string
	aliases                                      []string
	early, storePreserve                         bool
	// storeMax is what an earlier drop-in gives the fd store room for, which may be full.
	storeMax uint32
}

// participationFlags gives cmd the flags that say it.
func participationFlags(cmd *cobra.Command) *participation {
	var p participation
	f := cmd.Flags()
	f.StringVar(&p.preserve, "preserve", "", "`HOW`: dbus, fdstore or session; by default fdstore for units with an fd store, else dbus")
	f.StringVar(&p.timeout, "timeout", "", "give the service this `TIME` to say Ready")
	f.StringVar(&p.onFailure, "on-failure", "", "`abort` the update if the service isn't ready, or ignore it")
	f.StringVar(&p.verify, "verify", "", "compare checksums of what is sealed against writing: `none` or sha256")
	f.StringSliceVar(&p.after, "after", nil, "prepare it after these `UNITS`")
	f.StringSliceVar(&p.before, "before", nil, "prepare it before these `UNITS`")
	f.StringSliceVar(&p.aliases, "alias", nil, "give it what luod has of these `UNITS`, which it was called before")
	f.StringArrayVar(&p.memfds, "memfd", nil, "with fdstore: make a memfd `NAME:SIZE` unless it came through an update")
	f.StringArrayVar(&p.directories, "directory", nil, "with fdstore: bring this `DIRECTORY` of a tmpfs along, such as /run/foo")
	f.StringSliceVar(&p.recreate, "recreate", nil, "with fdstore: have `KINDS` of what no kernel carries made anew: files, sockets")
	f.BoolVar(&p.storePreserve, "fd-store-preserve", false, "with fdstore: FileDescriptorStorePreserve=yes, so that what it stores while it is being stopped\ncomes along, and systemd 261 and newer carry its memfds themselves")
	f.BoolVar(&p.early, "early", false, "start it before everything else after an update")
	return &p
}

// choice is one flag's part of a participation; one of the three is not nil.
type choice struct {
	flag string
	// each says that the flag is given once for each of list.
	each bool
	text *string
	list *[]string
	on   *bool
}

func (p *participation) choices() []choice {
	return []choice{
		{flag: "preserve", text: &p.preserve}, {flag: "timeout", text: &p.timeout}, {flag: "on-failure", text: &p.onFailure}, {flag: "verify", text: &p.verify},
		{flag: "after", list: &p.after}, {flag: "before", list: &p.before}, {flag: "alias", list: &p.aliases},
		{flag: "memfd", list: &p.memfds, each: true}, {flag: "directory", list: &p.directories, each: true}, {flag: "recreate", list: &p.recreate},
		{flag: "fd-store-preserve", on: &p.storePreserve}, {flag: "early", on: &p.early},
	}
}

// flags are the command line that makes this choice again; none if there is none.
func (c choice) flags() []string {
	switch {
	case c.text != nil && *c.text != "":
		return []string{"--" + c.flag + "=" + *c.text}
	case c.on != nil && *c.on:
		return []string{"--" + c.flag}
	case c.list != nil && c.each:
		var flags []string
		for _, one := range *c.list {
			flags = append(flags, "--"+c.flag+"="+one)
		}
		return flags
	case c.list != nil && len(*c.list) > 0:
		return []string{"--" + c.flag + "=" + strings.Join(*c.list, ",")}
	}
	return nil
}

// keep completes p with what an earlier run was asked for and this one is not, and
// returns the flags for that. A flag that is given replaces all of what it said
// before, so that an empty value, or false, takes it back.
func (p *participation) keep(earlier participation, given func(flag string) bool) (kept []string) {
	p.storeMax = earlier.storeMax
	before := earlier.choices()
	for i, c := range p.choices() {
		if c.list != nil {
			*c.list = slices.DeleteFunc(slices.Clone(*c.list), func(one string) bool { return one == "" })
		}
		if given(c.flag) {
			continue
		}
		switch b := before[i]; {
		case c.text != nil:
			*c.text = *b.text
		case c.list != nil:
			*c.list = *b.list
		default:
			*c.on = *b.on
		}
		kept = append(kept, c.flags()...)
	}
	return kept
}

// stored says whether the unit's fd store comes along.
func (p *participation) stored() bool {
	return slices.Contains(strings.Fields(p.preserve), "fdstore")
}

// usual is how a unit takes part that nothing is said of.
func (p *participation) usual(facts unitFacts) string {
	if facts.StoreMax > 0 || len(p.memfds)+len(p.directories)+len(p.recreate) > 0 {
		return "fdstore"
	}
	return "dbus"
}

// quoted is a command line for a shell.
func quoted(flags []string) string {
	var list []string
	for _, f := range flags {
		if strings.Trim(f, quiet) != "" {
			f = "'" + strings.ReplaceAll(f, "'", `'\''`) + "'"
		}
		list = append(list, f)
	}
	return strings.Join(list, " ")
}

// quiet are characters that mean nothing to a shell.
const quiet = `abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.@=,/+-`
