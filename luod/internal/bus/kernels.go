package bus

import (
	"context"
	"math"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/busoptions"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/polkit"
	"github.com/liveupdate/luod/luod/internal/record"
)

// result is a check's on the bus: (ssss), with the verdict "ok", "warn" or
// "fail".
type result struct{ Name, Verdict, Reason, Remedy string }

func results(report verdict.Report) []result {
	list := []result{}
	for _, r := range report.Results {
		list = append(list, result{r.Name, string(r.Verdict), r.Reason, r.Remedy})
	}
	return list
}

// target is what a report is about, as the bus shows it.
func target(report verdict.Report) map[string]dbus.Variant {
	return map[string]dbus.Variant{
		"Kernel":      dbus.MakeVariant(report.Target.Kernel),
		"Initrds":     dbus.MakeVariant(append([]string{}, report.Target.Initrds...)),
		"CommandLine": dbus.MakeVariant(report.Target.CommandLine),
		"Profile":     dbus.MakeVariant(uint32(report.Target.Profile)),
		"Release":     dbus.MakeVariant(report.Release),
		"Digest":      dbus.MakeVariant(report.Digest),
	}
}

// long is how long a check or a load may take.
func (m *methods) long() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.ctx, 3*timeout)
}

// ListEntries lists what there is to boot, to an admin: command lines may hold
// what others shall not see.
func (m *methods) ListEntries(msg dbus.Message, sender dbus.Sender) ([]map[string]dbus.Variant, *dbus.Error) {
	ctx, cancel := m.long()
	defer cancel()
	if err := m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Check); err != nil {
		return nil, answer(err)
	}
	entries, err := m.door.Registry.Entries(ctx)
	list := []map[string]dbus.Variant{}
	for _, e := range entries {
		list = append(list, map[string]dbus.Variant{
			"ID": dbus.MakeVariant(e.ID), "Kind": dbus.MakeVariant(e.Kind), "Title": dbus.MakeVariant(e.Title),
			"Version": dbus.MakeVariant(e.Version), "Source": dbus.MakeVariant(e.Source), "Kernel": dbus.MakeVariant(e.Kernel),
			"Initrds": dbus.MakeVariant(append([]string{}, e.Initrds...)), "CommandLine": dbus.MakeVariant(e.CommandLine),
			"Default": dbus.MakeVariant(e.Default), "Error": dbus.MakeVariant(e.Error),
		})
	}
	return list, answer(err)
}

// Check checks a kernel, to an admin, since it may name any file.
func (m *methods) Check(entry string, options map[string]dbus.Variant, msg dbus.Message, sender dbus.Sender) ([]result, map[string]dbus.Variant, *dbus.Error) {
	ctx, cancel := m.long()
	defer cancel()
	request, err := kernelOptions(entry, options)
	if err == nil {
		err = m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Check)
	}
	var report verdict.Report
	if err == nil {
		report, err = m.door.Registry.Check(ctx, request)
	}
	return results(report), target(report), answer(err)
}

// Load checks and loads the next kernel.
func (m *methods) Load(entry string, options map[string]dbus.Variant, msg dbus.Message, sender dbus.Sender) ([]result, map[string]dbus.Variant, *dbus.Error) {
	ctx, cancel := m.long()
	defer cancel()
	request, err := kernelOptions(entry, options)
	if err == nil {
		err = m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Load)
	}
	var report verdict.Report
	if err == nil {
		_, report, err = m.door.Registry.Load(ctx, request)
	}
	return results(report), target(report), answer(err)
}

func kernelOptions(entry string, given map[string]dbus.Variant) (nextkernel.Request, error) {
	r := nextkernel.Request{Entry: entry}
	err := busoptions.Decode(given, map[string]any{"initrds": &r.Initrds, "command-line": &r.CommandLine, "override": &r.Override})
	return r, err
}

func updateOptions(given map[string]dbus.Variant) (record.Options, error) {
	var o record.Options
	var when uint64
	err := busoptions.Decode(given, map[string]any{"when": &when, "verify": &o.Verify, "dry-run": &o.DryRun, "no-block": &o.NoBlock,
		"fast": &o.Fast, "message": &o.Message, "no-wall": &o.NoWall,
		"ignore-inhibitors": &o.IgnoreInhibitors, "override": &o.Override})
	if err == nil && when > math.MaxInt64 {
		return o, fault.New(errorname.BadRequest, "the time %d is none", when)
	}
	if err == nil && len(o.Message) > maxReason {
		return o, fault.New(errorname.BadRequest, "the message has %d bytes, and at most %d are taken", len(o.Message), maxReason)
	}
	if when > 0 {
		o.When = time.UnixMicro(int64(when))
	}
	return o, err
}
