package rules

// dependencies is about units that stop and start with others.
var dependencies = []Rule{
	{Name: "a stop takes those along that require it, are bound to it, or part of it, with their stores",
		Units: []Unit{{Name: "k"},
			{Name: "requires", StoreMax: 5, Requires: []string{"k"}, After: []string{"k"}}, {Name: "bound", StoreMax: 5, BindsTo: []string{"k"}, After: []string{"k"}},
			{Name: "part", StoreMax: 5, PartOf: []string{"k"}}, {Name: "wants", StoreMax: 5, Wants: []string{"k"}, After: []string{"k"}},
			{Name: "t.target", After: []string{"requires", "bound", "part", "k"}}},
		Steps: []Step{start("t.target", "k", "requires", "bound", "part", "wants"), push("requires", "a"), push("bound", "b"), push("part", "c"), push("wants", "d"), stop("k"),
			expect("k", "inactive/dead"), expect("requires", "inactive/dead"), expect("bound", "inactive/dead"), expect("part", "inactive/dead"), expect("wants", "active/running d")},
	},
	{Name: "a restart restarts those as well, and they keep their stores",
		Units: []Unit{{Name: "k"}, {Name: "requires", StoreMax: 5, Requires: []string{"k"}, After: []string{"k"}}, {Name: "part", StoreMax: 5, PartOf: []string{"k"}}, {Name: "wants", Wants: []string{"k"}}},
		Steps: []Step{start("k", "requires", "part", "wants"), push("requires", "a"), push("part", "b"), mark("requires"), mark("part"), restart("k"), moved("requires"), moved("part"), expect("requires", "active/running a"), expect("part", "active/running b")},
	},
	{Name: "a service that ends by itself takes along who is bound to it, and nobody else",
		Units: []Unit{{Name: "k"}, {Name: "bound", BindsTo: []string{"k"}, After: []string{"k"}}, {Name: "requires", Requires: []string{"k"}, After: []string{"k"}}, {Name: "t.target", After: []string{"k", "bound"}}},
		Steps: []Step{start("t.target", "bound", "requires"), leave("k", 0), expect("k", "inactive/dead"), expect("bound", "inactive/dead"), expect("requires", "active/running")},
	},
	{Name: "a start starts what is wanted, required and bound to",
		Units: []Unit{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "k", Wants: []string{"a"}, Requires: []string{"b"}, BindsTo: []string{"c"}, After: []string{"a", "b", "c"}}},
		Steps: []Step{start("k"), expect("a", "active/running"), expect("b", "active/running"), expect("c", "active/running"), expect("k", "active/running")},
	},
	{Name: "who requires one that fails to start before it is not started, who wants it is",
		Units: []Unit{{Name: "k", FailStart: true}, {Name: "requires", Requires: []string{"k"}, After: []string{"k"}}, {Name: "wants", Wants: []string{"k"}, After: []string{"k"}}, {Name: "t.target", After: []string{"requires"}}},
		Steps: []Step{start("t.target", "requires", "wants"), expect("k", "failed/failed"), expect("requires", "inactive/dead"), expect("wants", "active/running")},
	},
	{Name: "a target is started after what it requires, without saying so",
		Units: []Unit{{Name: "t.target", Requires: []string{"k"}}, {Name: "k", FailStart: true}, {Name: "o", After: []string{"t.target"}}},
		Steps: []Step{start("o", "t.target"), expect("k", "failed/failed"), expect("t.target", "inactive/dead")},
	},
}

// ends is about a shutdown.
var ends = []Rule{
	// A target that has been started wants k, and stops before it. The witness is stopped last.
	{Name: "at a shutdown the target goes first, and before 261 so does what is kept", Ends: true,
		Units: []Unit{wanted, {Name: "w", Witness: "k"}, {Name: "k", StoreMax: 5, Preserve: "yes", After: []string{"w"}}},
		Steps: []Step{start("w", "t.target"), push("k", "a"), shutdown, noted("w", "", On{261, "a"})},
	},
	{Name: "unless the one that is stopped last refers to it", Ends: true,
		Units: []Unit{wanted, {Name: "w", Witness: "k", Wants: []string{"k"}}, {Name: "k", StoreMax: 5, Preserve: "yes", After: []string{"w"}}},
		Steps: []Step{start("w", "t.target"), push("k", "a"), shutdown, noted("w", "a")},
	},
	{Name: "a soft-reboot drops the store with Preserve=restart", Ends: true,
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"), push("k", "a"), softReboot, start("k"), passed("k", "")},
	},
	{Name: "a soft-reboot drops what is kept before 261, and turns it around since", Ends: true,
		Units: []Unit{wanted, {Name: "k", StoreMax: 5, Preserve: "yes"}},
		Steps: []Step{start("t.target"), push("k", "a", "b"), softReboot, expect("k", "unloaded", On{261, "inactive/dead-resources-pinned a b"}), start("k"), passed("k", "", On{261, "a b"})},
	},
}
