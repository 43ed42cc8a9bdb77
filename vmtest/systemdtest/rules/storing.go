package rules

// labels are memfds called by one letter each.
func labels(letters string) (files []File) {
	for _, l := range letters {
		files = append(files, File{Label: string(l)})
	}
	return files
}

// storing is about what a store takes, and in which order.
var storing = []Rule{
	{Name: "the newest entry comes first, and is passed first",
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"), push("k", "a", "b", "c"), expect("k", "active/running c b a"), restart("k"), passed("k", "c b a"), expect("k", "active/running c b a")},
	},
	{Name: "what exceeds the limit is closed, and the barrier succeeds",
		Units: []Unit{{Name: "k", StoreMax: 2}},
		Steps: []Step{start("k"), push("k", "a", "b", "c"), expect("k", "active/running b a"), tell("k", Order{Remove: "a"}), push("k", "d", "e"), expect("k", "active/running d b")},
	},
	{Name: "without FileDescriptorStoreMax= nothing is stored",
		Units: []Unit{{Name: "k"}},
		Steps: []Step{start("k"), push("k", "a"), expect("k", "active/running")},
	},
	{Name: "a duplicate is not stored again, under another name neither",
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"), push("k", "a", "b", "a", "x=a"), expect("k", "active/running b a")},
	},
	{Name: "the same file opened anew is another entry, with its own flags",
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"), push("k", "a"), tell("k", Order{Push: "x", Files: []File{{Label: "a", Reopen: true}}}), expect("k", "active/running x=a(ro) a")},
	},
	{Name: "removing a name removes all entries of that name, and no others",
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"), push("k", "x=a", "y=b", "x=c"), tell("k", Order{Remove: "x"}), expect("k", "active/running y=b"), tell("k", Order{Remove: "z"}), expect("k", "active/running y=b")},
	},
	{Name: "without a name, or with a bad one, an entry is called stored",
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"), tell("k", Order{Unnamed: true, Files: []File{{Label: "a"}}}), push("k", "b:ad=b"), expect("k", "active/running stored=b stored=a")},
	},
	{Name: "an entry that hangs up goes, unless FDPOLL=0 was said",
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"),
			tell("k", Order{Push: "polled", Poll: true, Files: []File{{Label: "p", Pair: true}}}),
			tell("k", Order{Push: "kept", Files: []File{{Label: "q", Pair: true}}}),
			expect("k", "active/running kept=q polled=p"), tell("k", Order{HangUp: "p"}), tell("k", Order{HangUp: "q"}), expect("k", "active/running kept=q")},
	},
	{Name: "of one message all have one name, and as many as there is room for are stored",
		Units: []Unit{{Name: "k", StoreMax: 3}},
		Steps: []Step{start("k"), push("k", "z"), tell("k", Order{Push: "m", Files: []File{{Label: "a"}, {Label: "b"}}}), anyOrder("k", "m=a", "m=b", "z"), push("k", "y"), anyOrder("k", "m=a", "m=b", "z")},
	},
	{Name: "several of one message are stored in an order that nobody knows",
		Units: []Unit{{Name: "k", StoreMax: 20}},
		Steps: []Step{start("k"), tell("k", Order{Push: "m", Files: labels("abcdefghijklm")}), shuffled("k", "abcdefghijklm")},
	},
	{Name: "a daemon-reload turns the order around, and so does a daemon-reexec",
		Units: []Unit{{Name: "k", StoreMax: 5}},
		Steps: []Step{start("k"), push("k", "a", "b", "c"), reload, expect("k", "active/running a b c"), push("k", "d"), expect("k", "active/running d a b c"), do("daemon-reexec"), expect("k", "active/running c b a d")},
	},
	{Name: "a lower limit counts from the next daemon-reload, and drops what exceeds it",
		Units: []Unit{{Name: "k", StoreMax: 3}},
		Steps: []Step{start("k"), push("k", "a", "b", "c"), define(Unit{Name: "k", StoreMax: 2}), expect("k", "active/running c b a"), reload, expect("k", "active/running b c")},
	},
}
