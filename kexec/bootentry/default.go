package bootentry

import (
	"path"
	"slices"
	"strings"
)

// markDefault marks what boot_entries_select_default of bootspec.c chooses: what
// the boot loader's variables name, or loader.conf, or else the first. Nobody has
// asked for the first, so here it is the first that this installation can be
// sure of. An entry that tells no machine ID is taken for this installation's,
// which is what GRUB's and unified kernel images are like.
func (s System) markDefault(entries []Entry, partitions []partition) {
	conf := readLoaderConf(partitions)
	for _, chosen := range []struct {
		pattern string
		// assessed says that entries without tries left don't count, as the
		// Boot Loader Interface has it for what is preferred only.
		assessed bool
	}{
		{s.loaderVariable("LoaderEntryOneShot"), false},
		{s.loaderVariable("LoaderEntryPreferred"), true},
		{s.loaderVariable("LoaderEntryDefault"), false},
		{conf.preferred, true},
		{conf.defaults, false},
	} {
		pattern := chosen.pattern
		if strings.EqualFold(pattern, "@saved") {
			pattern = s.loaderVariable("LoaderEntrySelected")
		}
		// Others that begin with @ mean something to the boot loader only.
		if pattern == "" || pattern[0] == '@' {
			continue
		}
		if i := slices.IndexFunc(entries, func(e Entry) bool {
			return e.Kind != Plain && matches(pattern, e.ID) && (!chosen.assessed || e.TriesLeft != 0)
		}); i >= 0 {
			entries[i].Default = true
			return
		}
	}
	own := func(e Entry) bool {
		return !e.rescue() && (e.MachineID == "" || s.MachineID == "" || strings.EqualFold(e.MachineID, s.MachineID))
	}
	i := slices.IndexFunc(entries, func(e Entry) bool { return own(e) && e.TriesLeft != 0 })
	if i < 0 {
		i = slices.IndexFunc(entries, own)
	}
	if i >= 0 {
		entries[i].Default = true
	}
}

// matches is fnmatch(3) with FNM_CASEFOLD; an ID has no slash. Go negates a
// bracket by ^ alone.
func matches(pattern, id string) bool {
	pattern, id = strings.ToLower(pattern), strings.ToLower(id)
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), id)
	return ok && err == nil || pattern == id
}

// loaderConf is what loader.conf(5) says of the default.
type loaderConf struct{ preferred, defaults string }

// readLoaderConf reads the first loader.conf there is.
func readLoaderConf(partitions []partition) loaderConf {
	var conf loaderConf
	for _, p := range partitions {
		text, err := p.read("loader/loader.conf", maxFile)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			switch key, value := keyValue(line); key {
			case "preferred":
				conf.preferred = value
			case "default":
				conf.defaults = value
			}
		}
		break
	}
	return conf
}
