package busserver

import (
	"math"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
)

// admin passes the call on to luod as an admin's.
func (c *call) admin(arguments, result any) error {
	action, is := buslink.Action(c.method.name)
	if !is {
		return denied("%s is nobody's", c.method.name)
	}
	_, err := c.asAdmin([]string{action}, arguments, result)
	return err
}

func (c *call) listInhibitors() ([]any, []foreign.Descriptor, error) {
	list := []buslink.Inhibitor{}
	_, err := c.pass(c.method.name, false, nil, nil, &list)
	return []any{list}, nil, err
}

func (c *call) cancel() ([]any, []foreign.Descriptor, error) {
	reason, err := c.reason()
	if err == nil {
		err = c.admin(buslink.Name{Name: reason}, nil)
	}
	return nil, nil, err
}

func (c *call) listFileDescriptors() ([]any, []foreign.Descriptor, error) {
	held := []buslink.Held{}
	err := c.admin(nil, &held)
	return []any{held}, nil, err
}

func (c *call) discard() ([]any, []foreign.Descriptor, error) {
	d := buslink.Discard{Unit: c.arguments.Text(), Names: c.arguments.Texts()}
	err := c.understood()
	if err == nil {
		err = c.admin(d, nil)
	}
	return nil, nil, err
}

func (c *call) discardAll() ([]any, []foreign.Descriptor, error) {
	var d buslink.DiscardAll
	options(c.arguments, map[string]any{"dry-run": &d.DryRun})
	err := c.understood()
	s := buslink.Stakes{}
	if err == nil {
		err = c.admin(d, &s)
	}
	if s.Units == nil {
		s.Units = []buslink.Stake{}
	}
	return []any{s.Units, s.Unread, s.Stuck}, nil, err
}

func (c *call) report() ([]any, []foreign.Descriptor, error) {
	r := buslink.Report{Generation: c.arguments.Number()}
	var text buslink.Text
	err := c.understood()
	if err == nil {
		err = c.admin(r, &text)
	}
	return []any{text.Text}, nil, err
}

// listEntries lists what there is to boot, to an admin: command lines may hold what others
// shall not see.
func (c *call) listEntries() ([]any, []foreign.Descriptor, error) {
	var entries []buslink.Entry
	err := c.admin(nil, &entries)
	list := []map[string]dbus.Variant{}
	for _, e := range entries {
		list = append(list, map[string]dbus.Variant{
			"ID": dbus.MakeVariant(e.ID), "Kind": dbus.MakeVariant(e.Kind), "Title": dbus.MakeVariant(e.Title),
			"Version": dbus.MakeVariant(e.Version), "Source": dbus.MakeVariant(e.Source), "Kernel": dbus.MakeVariant(e.Kernel),
			"Initrds": dbus.MakeVariant(append([]string{}, e.Initrds...)), "CommandLine": dbus.MakeVariant(e.CommandLine),
			"Default": dbus.MakeVariant(e.Default), "Error": dbus.MakeVariant(e.Error),
		})
	}
	return []any{list}, nil, err
}

// kernel has one checked or loaded, for an admin, since it may name any file.
func (c *call) kernel() ([]any, []foreign.Descriptor, error) {
	k := buslink.Kernel{Entry: c.arguments.Text()}
	options(c.arguments, map[string]any{"initrds": &k.Initrds, "command-line": &k.CommandLine, "override": &k.Override})
	err := c.understood()
	checked := buslink.Checked{Results: []buslink.Result{}}
	if err == nil {
		err = c.admin(k, &checked)
	}
	t := checked.Target
	return []any{checked.Results, map[string]dbus.Variant{
		"Kernel":      dbus.MakeVariant(t.Kernel),
		"Initrds":     dbus.MakeVariant(append([]string{}, t.Initrds...)),
		"CommandLine": dbus.MakeVariant(t.CommandLine),
		"Profile":     dbus.MakeVariant(t.Profile),
		"Release":     dbus.MakeVariant(t.Release),
		"Digest":      dbus.MakeVariant(t.Digest),
	}}, nil, err
}

func (c *call) unload() ([]any, []foreign.Descriptor, error) {
	return nil, nil, c.admin(nil, nil)
}

func (c *call) unloadOwn() ([]any, []foreign.Descriptor, error) {
	var release buslink.Text
	err := c.admin(nil, &release)
	return []any{release.Text}, nil, err
}

// liveUpdate returns when the shutdown has begun.
func (c *call) liveUpdate() ([]any, []foreign.Descriptor, error) {
	var u buslink.Update
	options(c.arguments, map[string]any{"when": &u.When, "verify": &u.Verify, "dry-run": &u.DryRun, "no-block": &u.NoBlock,
		"fast": &u.Fast, "message": &u.Message, "no-wall": &u.NoWall,
		"ignore-inhibitors": &u.IgnoreInhibitors, "override": &u.Override})
	err := c.understood()
	switch {
	case err != nil:
	case u.When > math.MaxInt64:
		err = refuse(errorname.BadRequest, "the time %d is none", u.When)
	case len(u.Message) > buslink.MaxReason:
		err = refuse(errorname.BadRequest, "the message has %d bytes, and at most %d are taken", len(u.Message), buslink.MaxReason)
	}
	if err != nil {
		return nil, nil, err
	}
	var g buslink.Generation
	_, err = c.asAdmin(u.Actions(), u, &g)
	return []any{g.Generation}, nil, err
}
