// Package fakepid1 is a systemd for tests that need none: units that start, stop and fail, and their file descriptor
// stores with real descriptors in them, by the rules of the real one and no kinder. They are in
// vmtest/systemdtest/rules, a table that runs against it and against real systemd.
//
//	m := fakepid1.New(257) // systemd's version
//	t.Cleanup(m.Close)     // a reboot: every store is gone
//	m.Define(fakepid1.Unit{
//		Name: "a.service", Files: []string{path}, StoreMax: 8, Preserve: "yes",
//		StartPre: func(p *fakepid1.Process) error { // as luod-reissue does
//			fetch, err := luod.Retrieve(ctx, p.Unit, nil)
//			…
//			return errors.Join(p.Push("name", f), p.Barrier(ctx), luod.Fetched(ctx, p.Unit, fetch.Names))
//		},
//		Start: func(p *fakepid1.Process) error { … p.Listen() … },      // what it is passed
//		Stop:  func(p *fakepid1.Process) error { return p.Push("late", f) }, // until the process is gone
//	})
//	err := m.Start(ctx, []string{"a.service"})
//	config.Units = m // it is what the coordinator asks PID 1
//	m.Serve("/usr/lib/luod/luod-adopt", func(ctx context.Context, p pid1.Program) error {
//		for _, e := range m.Descriptors("a.service") { … } // copies, by pidfd_getfd(2)
//	})
//
// [Manager.Store] and [Manager.State] are what PID 1 tells, [Manager.Exit] has a service end by itself,
// [Manager.Reload] is a daemon-reload, [Manager.Shutdown] stops everything. A [Process] that was kept from a Start can say
// something later.
//
// Where it differs from the real one: what a process says is heard at once, jobs of one transaction run one after the other, and
// a job waits for the one before it of the same unit instead of replacing it. It has no templates, no conflicts, no
// time limits.
package fakepid1
